"""A run of `make run-local`, and the commands that belong to it."""

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import typer

from eventflow.cli.__main__ import app
from eventflow.cli.options import environ_of
from eventflow.cli.run_file import DEFAULT_PATH, RunFile, all_runs

URL = "EVENTFLOW_BROKER__URL"
RATE = "EVENTFLOW_TARGET__RATE_PER_S"

Start = Callable[..., RunFile]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Writes the files of runs; all of them have the process id of this test, unless one is named."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in [name for name in os.environ if name.startswith("EVENTFLOW_")]:
        monkeypatch.delenv(name)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def write(name: str, *, pid: int = os.getpid(), **changes: object) -> RunFile:
            values: dict[str, object] = {
                "pid": pid,
                "directory": str(tmp_path / name),
                "console_url": "",
                "events_url": f"http://127.0.0.1:{server.getsockname()[1]}/events",
                "audit_url": "",
                "api_key": "",
                "management_url": None,
                "collector_metrics_url": "",
                "processor_metrics_urls": [],
                "config": None,
                "settings": {URL: f"amqp://{name}/", RATE: "50"},
                **changes,
            }
            run = RunFile(**values)  # type: ignore[arg-type]
            run.write(tmp_path / name / DEFAULT_PATH)
            return run

        yield write


def environ(config: Path | None = None) -> Mapping[str, str]:
    return environ_of(typer.Context(typer.main.get_command(app)), config)


def test_a_command_has_the_settings_of_the_run_and_its_own_variables_above_them(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    start("demo")
    monkeypatch.setenv(RATE, "7")
    monkeypatch.setenv(URL, "")
    assert (environ()[URL], environ()[RATE]) == ("amqp://demo/", "7")


@pytest.mark.parametrize("named", ["variable", "file"])
def test_a_command_with_another_broker_or_a_file_of_its_own_belongs_to_no_run(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named: str
) -> None:
    start("demo")
    if named == "variable":
        monkeypatch.setenv(URL, "amqp://production/")
    else:
        Path("eventflow.toml").touch()
    assert RATE not in environ()


def test_a_command_with_the_broker_or_the_file_of_the_run_belongs_to_it(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "demo.toml"
    file.touch()
    start("demo", config=str(file.resolve()))
    monkeypatch.setenv(URL, "amqp://demo/")
    assert environ()[RATE] == environ(file)[RATE] == "50"
    assert environ()["EVENTFLOW_CONFIG"] == str(file)


def test_of_several_runs_the_one_of_this_directory_is_taken(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    start("first")
    start("second", pid=os.getppid())
    (tmp_path / "second" / "below").mkdir()
    monkeypatch.chdir(tmp_path / "second" / "below")
    assert environ()[URL] == "amqp://second/"


def test_without_a_terminal_several_runs_elsewhere_are_an_error_that_lists_them(start: Start, tmp_path: Path) -> None:
    start("first")
    start("second", pid=os.getppid())
    with pytest.raises(typer.BadParameter, match=f"{tmp_path}/first, {tmp_path}/second"):
        environ()


def test_a_run_that_has_ended_leaves_nothing(start: Start, tmp_path: Path) -> None:
    run = start("demo")
    assert (tmp_path / "demo" / DEFAULT_PATH).stat().st_mode & 0o777 == 0o600
    assert all_runs() == [run]
    run.remove(tmp_path / "demo" / DEFAULT_PATH)
    assert all_runs() == []
    assert not list((tmp_path / "state").rglob("*[0-9]"))


def test_a_file_of_another_user_in_a_directory_above_is_no_run(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    start("demo")
    owner = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    assert all_runs() == []


def test_a_fifo_in_the_place_of_the_file_does_not_block(start: Start, tmp_path: Path) -> None:
    start("demo")
    (tmp_path / ".local").mkdir()
    os.mkfifo(tmp_path / DEFAULT_PATH)
    assert [run.directory for run in all_runs()] == [str(tmp_path / "demo")]


def test_a_link_in_the_place_of_the_file_is_replaced_and_not_followed(start: Start, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "demo" / DEFAULT_PATH).parent.mkdir(parents=True)
    (tmp_path / "demo" / DEFAULT_PATH).symlink_to(victim)
    run = start("demo")
    assert victim.read_text() == "precious"
    assert all_runs() == [run]
    assert list((tmp_path / "demo" / ".local").iterdir()) == [tmp_path / "demo" / DEFAULT_PATH]
