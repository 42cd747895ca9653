"""Today's command reads the histories that released versions have left, and one that this version writes."""

import json
import shutil
from pathlib import Path

import aiohttp
import pytest

from eventflow.migration import steps_in
from eventflow.topology import flow_specs, overrides_queue, overrides_spec
from tests.support.amqp import Amqp
from tests.support.cli import Command
from tests.support.recorded import FIXTURES
from tests.support.recorded_history import (
    ACTIONS,
    FILE_NAME,
    FLOW,
    OUTCOMES,
    record_history,
    releases_with_history,
)

TODAY = "today"
DELAYS_S = (0.2, 0.5)


@pytest.fixture(params=[*releases_with_history(), TODAY])
async def recorded(
    request: pytest.FixtureRequest, broker_url: str, amqp: Amqp, http: aiohttp.ClientSession, tmp_path: Path
) -> Path:
    """A directory with a history that a version has left."""
    directory = tmp_path / "recorded"
    if request.param != TODAY:
        shutil.copytree(FIXTURES / request.param / "history", directory)
        return directory
    await amqp.declare([*flow_specs(FLOW, DELAYS_S), overrides_spec(FLOW)])
    await record_history(broker_url, amqp, http, directory)
    await amqp.delete(*(spec.name for spec in flow_specs(FLOW, DELAYS_S)), overrides_queue(FLOW))
    return directory


async def test_attempts_and_actions_of_a_version_stay_on_record(recorded: Path) -> None:
    history = {"HISTORY__URL": f"sqlite:///{recorded / FILE_NAME}"}
    command = Command(broker_url="amqp://guest:guest@127.0.0.1:1/", flow=FLOW)
    assert (await command("history", "migrate", **history)).status == 0
    listed = await command("history", "list", "--json", **history)
    assert listed.status == 0, listed.stderr
    attempts = json.loads(listed.stdout)["attempts"]
    assert {attempt["event_id"]: attempt["outcome"] for attempt in attempts} == OUTCOMES
    acted = await command("history", "actions", "--json", **history)
    assert acted.status == 0, acted.stderr
    assert [action["kind"] for action in reversed(json.loads(acted.stdout)["actions"])] == [*ACTIONS]


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
@pytest.mark.parametrize("version", releases_with_history())
def test_a_step_of_a_released_schema_never_changes(version: str, store: str) -> None:
    """A database of that version has this step already, and gets only the later ones."""
    today = {step.name: step.sql for step in steps_in(f"eventflow.history.{store}.migrations")}
    for file in (FIXTURES / version / "history" / store).iterdir():
        assert today[file.stem] == file.read_text(encoding="utf-8")
