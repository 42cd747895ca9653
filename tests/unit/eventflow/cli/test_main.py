"""The assembled command: version, wrong usage, and the place of `--config`."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from eventflow import __version__
from eventflow.cli.__main__ import app
from eventflow.cli.assembly import summary_of

GROUPS = [("console",), ("database",), ("dead",), ("history",), ("outbox",), ("rate",), ("source",), ("spool",)]


def test_version_and_wrong_usage() -> None:
    runner = CliRunner()
    assert runner.invoke(app, ["--version"]).output.startswith("eventflow ")
    assert runner.invoke(app, ["status", "--watch", "--json"]).exit_code == 2
    assert runner.invoke(app, ["nonsense"]).exit_code == 2


def every_command(group: Any, *path: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*path, name)
        if hasattr(command, "commands"):
            yield from every_command(command, *path, name)


@pytest.mark.parametrize("path", [(), *every_command(get_command(app))], ids=" ".join)
def test_each_command_explains_itself_on_sixty_columns(path: tuple[str, ...]) -> None:
    short, long = (CliRunner().invoke(app, [*path, option], terminal_width=60).output for option in ("-h", "--help"))
    assert short == long
    assert "-h, --help" in long
    assert "<bool>" not in long
    assert "..." not in long.split("\n", 1)[1]  # the first line is the usage
    assert max(map(len, long.splitlines())) <= 60


def test_summaries_are_whole_sentences() -> None:
    assert summary_of("Stop it\n    until `a.b`. Then nothing.") == "Stop it until `a.b`."
    assert summary_of("No full stop") == "No full stop"


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("eventflow dead re", ["replay"]),
        ("eventflow dead replay --reason certificate_o", ["certificate_other_name"]),
        ("eventflow pause --config CONFIG --flow b", ["blue"]),
        ("eventflow --config CONFIG rate show b", ["blue"]),
        ("eventflow --config /nowhere status --flow b", []),
    ],
)
def test_shells_complete_commands_reasons_and_flows(tmp_path: Path, words: str, completed: list[str]) -> None:
    config = tmp_path / "some.toml"
    config.write_text("[flows.blue.target]\n[flows.red.target]\n")
    words = words.replace("CONFIG", str(config))
    request = {"_EVENTFLOW_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    assert CliRunner().invoke(app, env=request, prog_name="eventflow").output.split() == completed


@pytest.mark.parametrize("path", [path for path in every_command(get_command(app)) if path not in GROUPS], ids=" ".join)
def test_every_command_can_print_json(path: tuple[str, ...]) -> None:
    assert "--json" in CliRunner().invoke(app, [*path, "-h"]).output


@pytest.mark.parametrize(
    "program", ["eventflow", "eventflow-collector", "eventflow-console", "eventflow-processor", "eventflow-relay"]
)
def test_programs_state_their_version_and_explain_themselves(program: str) -> None:
    def output(option: str) -> str:
        command = [Path(sys.executable).with_name(program), option]
        return subprocess.run(command, capture_output=True, check=True, text=True, timeout=60).stdout

    assert output("--version") == f"{program} {__version__}\n"
    assert "-h, --help" in output("-h")


@pytest.mark.parametrize("before", [True, False])
def test_config_is_read_before_and_after_the_command(tmp_path: Path, before: bool) -> None:
    file = tmp_path / "other.toml"
    file.write_text("[flows.blue.target]\nretry_delays_s = [7]\n")
    option = ["--config", str(file)]
    arguments = [*option, "topology", "--dry-run"] if before else ["topology", "--dry-run", *option]
    assert "eventflow.blue.retry.7000" in CliRunner().invoke(app, arguments).output


def test_an_error_cannot_command_a_terminal() -> None:
    failing = """
from eventflow.cli import __main__ as program
from eventflow.errors import EventFlowError

def fail():
    raise EventFlowError("a\\x1b[2J")

program.app = fail
program.main()
"""
    ended = subprocess.run([sys.executable, "-c", failing], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (1, "error: a\\x1b[2J\n")
