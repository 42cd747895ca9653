"""`eventflow size`: the needs of a flow."""

import json

import pytest
from typer.testing import CliRunner

from eventflow.cli.__main__ import app


def sized(*arguments: str) -> dict[str, float | None]:
    ended = CliRunner().invoke(app, ["size", "--json", *arguments])
    assert ended.exit_code == 0, ended.output
    needs: dict[str, float | None] = json.loads(ended.output)
    return needs


def test_rate_times_timeout_is_the_number_of_attempts_in_flight() -> None:
    assert sized("--rate", "10", "--timeout", "5")["concurrency"] == 50
    assert sized("--rate", "100", "--cost", "50")["concurrency"] == 10


@pytest.mark.parametrize(
    ("arguments", "usual", "slow"),
    [
        (["--rate", "2"], 1, 1),
        (["--rate", "500"], 4, 40),
        (["--rate", "500", "--max-body", "32768"], 1, 2),
        (["--rate", "12000", "--answer", "0.001"], 2, 938),
    ],
)
def test_processors_are_useful_until_the_rate_is_reached(arguments: list[str], usual: int, slow: int) -> None:
    needs = sized(*arguments)
    assert (needs["processors"], needs["processors_if_slow"]) == (usual, slow)


@pytest.mark.parametrize(
    ("arguments", "of_one_per_s", "recommended"),
    [
        (["--rate", "2"], 128, 2),
        (["--rate", "500"], 128, 5),
        (["--rate", "500", "--max-body", "32768"], 4000, 2),
        (["--rate", "500", "--answer", "0"], 8000, 2),
        (["--rate", "12000", "--answer", "0.001"], 8000, 3),
    ],
)
def test_one_processor_more_than_the_rate_needs_is_recommended(
    arguments: list[str], of_one_per_s: float, recommended: int
) -> None:
    needs = sized(*arguments)
    assert (needs["processor_events_per_s"], needs["processors_recommended"]) == (of_one_per_s, recommended)


@pytest.mark.parametrize(
    ("arguments", "recommended"),
    [([], 2), (["--arrivals", "15000"], 3), (["--peak", "10000"], 2), (["--arrivals", "1", "--peak", "30001"], 5)],
)
def test_collectors_take_the_peak_and_one_may_fail(arguments: list[str], recommended: int) -> None:
    assert sized("--rate", "20000", *arguments)["collectors_recommended"] == recommended


def test_a_backlog_takes_disk_and_memory_and_time() -> None:
    needs = sized("--rate", "2", "--arrivals", "1", "--outage", "10", "--body", "300")
    assert needs["backlog_events"] == 36_000
    assert needs["drain_s"] == 36_000
    assert needs["disk_bytes"] == 36_000 * 1000
    assert needs["memory_bytes"] == 36_000 * 50
    assert sized("--rate", "2", "--arrivals", "2")["drain_s"] is None


def test_a_rate_that_is_no_setting_is_wrong_usage() -> None:
    assert CliRunner().invoke(app, ["size", "--rate", "0"]).exit_code == 2
    assert CliRunner().invoke(app, ["size", "--rate", "2"]).exit_code == 0


@pytest.mark.parametrize("option", ["--outage", "--arrivals", "--peak", "--answer"])
def test_an_endless_number_is_wrong_usage(option: str) -> None:
    ended = CliRunner().invoke(app, ["size", "--rate", "2", option, "inf"])
    assert (ended.exit_code, option in ended.output) == (2, True)
