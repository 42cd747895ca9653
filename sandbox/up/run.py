"""A run of programs on this machine: it shows the steps of the start, watches the programs, and ends at Ctrl-C."""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.panel import Panel

from eventflow.cli.run_file import RUN_FILE_NAME, RunFile
from sandbox.broker import provision
from sandbox.broker.provision import Broker
from sandbox.provided import NotAvailable
from sandbox.up.children import Children, Interruptions, RunError
from sandbox.up.steps import Steps

_WATCH_EVERY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The means of a start.

    Attributes:
        directory: Directory for data.
        stack: Stops and removes what the start has started and made.
    """

    directory: Path
    steps: Steps
    children: Children
    stack: ExitStack


class Server(Protocol):
    """A server that is no child of the run."""

    @property
    def alive(self) -> bool:
        """Whether it runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """Everything that a start has started.

    Attributes:
        here: Its addresses and settings, for the commands that use it.
        rows: Lines of the panel, by name.
        commands: Commands to try; each is printed below the panel, on one line.
        servers: The servers by name; None for one that was not started here.
    """

    here: RunFile
    rows: Mapping[str, str]
    commands: Sequence[str]
    servers: Mapping[str, Server | None]


def run(
    directory: Path, *, title: str, steps: Sequence[str], ensure: Callable[[], None], start: Callable[[Stage], Running]
) -> None:
    """Start everything, show its addresses, and wait for Ctrl-C, which stops all of it. Exit on an error.

    Args:
        directory: Directory for data and for run.json.
        title: Title of the panel.
        steps: The steps of the start, in the order of their ends.
        ensure: Installs missing programs. It runs before the display, because an installation writes to the terminal.
        start: Starts everything, and returns when all of it is ready.
    """
    console = Console(highlight=False)
    interruptions = Interruptions()
    try:
        with ExitStack() as stack:
            try:
                _require_first(directory)
                stack.callback(lambda: console.print("Stopped."))
                ensure()
                with Steps(console, *steps) as shown:
                    children = Children(console, interruptions, stack)
                    running = start(Stage(directory=directory, steps=shown, children=children, stack=stack))
                _show(running, title, directory / RUN_FILE_NAME, console, stack)
                _watch(children, running)
            except KeyboardInterrupt:
                console.print("Stopping. Press Ctrl-C again to stop at once.")
                raise
    except KeyboardInterrupt:
        return
    except NotAvailable as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        sys.exit(error.exit_status)
    except RunError as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        sys.exit(1)


def start_broker(stage: Stage, directory: Path) -> Broker:
    """Provide a broker whose queues are protected, until the end of the run.

    Args:
        stage: Its stack stops the broker.
        directory: Directory for its data.

    Raises:
        BrokerNotAvailable: There is none, and none can be started.
        RunError: It did not accept the policies.
    """
    broker = stage.stack.enter_context(provision.provide(directory))
    if broker.management_url is not None and not provision.apply_policies(broker):
        raise RunError("The broker did not accept the policies that protect the queues")
    return broker


def ensure_broker() -> None:
    """Make sure that a broker can be started here, unless the environment names one.

    Raises:
        BrokerNotAvailable: None can be started.
    """
    if not provision.urls_in(os.environ):
        provision.ensure()


def typed(command: str) -> str:
    """Return a command of this installation as it must be typed in this directory."""
    path = Path(sys.executable).parent / command
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _require_first(directory: Path) -> None:
    if (running := RunFile.read(directory / RUN_FILE_NAME)) is not None:
        raise RunError(f"Event Flow already runs here, as process {running.pid}: {running.events_url}")


def _show(running: Running, title: str, run_file: Path, console: Console, stack: ExitStack) -> None:
    stack.callback(running.here.remove, run_file)
    running.here.write(run_file)
    rows = "\n".join(f"{name:<15} {value}" for name, value in running.rows.items())
    console.print(Panel(rows, title=title, expand=False))
    for command in running.commands:
        console.print(f"{command}\n", soft_wrap=True, markup=False)


def _watch(children: Children, running: Running) -> None:
    while True:
        time.sleep(_WATCH_EVERY_S)
        children.check()
        for name, server in running.servers.items():
            if server is not None and not server.alive:
                raise RunError(f"The {name} has ended.")
