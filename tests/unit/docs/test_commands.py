"""Each command in a document exists: its program, its subcommand, its options, its Make target, its Compose service."""

import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import pytest
import typer
import yaml

from eventflow.cli.__main__ import app
from tests.support.documents import ROOT, WITH_COMMANDS, commands_in

TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
COMPOSE = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
WITH_SERVICE = {"exec", "logs", "restart", "rm", "run", "start", "stop", "up"}
OPTIONS_WITH_VALUE = {"--tail", "--profile", "--volume", "-v", "--env", "-e"}


@cache
def help_of(*command: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", *command, "--help"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout


def options_in(words: Sequence[str]) -> list[str]:
    return [word.partition("=")[0] for word in words if re.fullmatch(r"--?[a-z][\w-]*(=.*)?", word)]


def check_eventflow(words: Sequence[str]) -> None:
    command = typer.main.get_command(app)
    known = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}
    rest = [word for before, word in zip(["", *words], words, strict=False) if before != "--config"]
    while subcommands := getattr(command, "commands", None):
        # An option before the command may have a value.
        named = [word for word in rest if word in subcommands] or [word for word in rest if not word.startswith("-")]
        if not named or named[0].isupper():  # a placeholder, such as COMMAND
            break
        assert named[0] in subcommands, f"{named[0]!r} is no command of eventflow: {' '.join(words)}"
        command = subcommands[named[0]]
        known |= {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        rest = rest[rest.index(named[0]) + 1 :]
    assert set(options_in(words)) <= known, f"eventflow {' '.join(words)}"


def check_service(module: str) -> Callable[[Sequence[str]], None]:
    def check(words: Sequence[str]) -> None:
        for option in options_in(words):
            assert option in help_of(module)

    return check


def check_make(words: Sequence[str]) -> None:
    for word in words:
        assert "=" in word or word in TARGETS, f"make {' '.join(words)}"


def check_python(words: Sequence[str]) -> None:
    if words[:1] == ["-m"] and words[1].partition(".")[0] in {"sandbox", "benchmarks", "tests", "eventflow"}:
        module, *rest = words[1:]
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").exists() or (
            ROOT / module.replace(".", "/") / "__main__.py"
        ).exists()
        for option in options_in(rest):
            assert option in help_of(module)


def check_docker(words: Sequence[str]) -> None:
    if words[:1] != ["compose"]:
        return
    plain, rest = [], list(words[1:])
    while rest:
        word = rest.pop(0)
        if word in OPTIONS_WITH_VALUE:
            rest.pop(0)
        elif not word.startswith("-"):
            plain.append(word)
            if plain[:1] in (["run"], ["exec"]) and len(plain) == 2:
                break
    verb, *services = plain or ["-"]
    if verb in WITH_SERVICE:
        for before, service in zip(["", *services], services, strict=False):
            if before == "$":  # a variable of the shell
                continue
            assert service in COMPOSE["services"] or not service.isalpha(), f"docker {' '.join(words)}"
        if verb == "run" and services[:1] == ["eventflow"]:
            check_eventflow(rest)


CHECKS: dict[str, Callable[[Sequence[str]], None]] = {
    "eventflow": check_eventflow,
    "eventflow-collector": check_service("eventflow_collector"),
    "eventflow-processor": check_service("eventflow_processor"),
    "eventflow-relay": check_service("eventflow_relay"),
    "make": check_make,
    "python": check_python,
    "docker": check_docker,
}


@pytest.mark.parametrize("document", WITH_COMMANDS, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_command_of_a_document_exists(document: Path) -> None:
    for program, *words in commands_in(document):
        if program.startswith("./"):
            assert (
                (document.parent / program).exists()
                or (ROOT / program).exists()
                or (ROOT / "deploy" / program).exists()
            )
        elif (check := CHECKS.get(Path(program).name)) is not None:
            check([word for word in words if word not in {"...", "…"}])


def test_a_command_that_does_not_exist_is_found() -> None:
    for wrong in (["statsu"], ["status", "--wtach"], ["dead", "lst"], ["dead", "replay", "--reasons", "x"]):
        with pytest.raises(AssertionError):
            check_eventflow(wrong)
    with pytest.raises(AssertionError):
        check_make(["run-locally"])
    with pytest.raises(AssertionError):
        check_docker(["compose", "run", "--rm", "eventflow", "statsu"])
    with pytest.raises(AssertionError):
        check_docker(["compose", "logs", "--tail", "3", "tarjet"])
