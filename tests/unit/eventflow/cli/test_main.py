"""The assembled command: version, wrong usage, and the place of `--config`."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from eventflow.cli.__main__ import app


def test_version_and_wrong_usage() -> None:
    runner = CliRunner()
    assert runner.invoke(app, ["--version"]).output.startswith("eventflow ")
    assert runner.invoke(app, ["status", "--watch", "--json"]).exit_code == 2
    assert runner.invoke(app, ["nonsense"]).exit_code == 2


@pytest.mark.parametrize("before", [True, False])
def test_config_is_read_before_and_after_the_command(tmp_path: Path, before: bool) -> None:
    file = tmp_path / "other.toml"
    file.write_text("[flows.blue.target]\nretry_delays_s = [7]\n")
    option = ["--config", str(file)]
    arguments = [*option, "topology", "--dry-run"] if before else ["topology", "--dry-run", *option]
    assert "eventflow.blue.retry.7000" in CliRunner().invoke(app, arguments).output
