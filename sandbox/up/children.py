"""The child processes of a run, and the signals that end it."""

import signal
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.text import Text

from sandbox.broker import probes
from sandbox.processes import ChildProcess, wait_until
from sandbox.up.environment import Environment

_READY_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 20.0  # above the time that a processor waits for its attempts in flight
TARGET, COLLECTOR, PROCESSOR, PROCESSOR_2, CONSOLE = "target", "collector", "processor", "processor 2", "console"
RELAY = "relay"
_COLOURS = {
    TARGET: "magenta",
    COLLECTOR: "cyan",
    PROCESSOR: "green",
    PROCESSOR_2: "bright_green",
    RELAY: "yellow",
    CONSOLE: "blue",
}


class RunError(Exception):
    """The run cannot start or continue; the text gives the reason."""


class Interruptions:
    """Handler of Ctrl-C and SIGTERM. The first ends the run, the second speeds up the end, the rest do nothing."""

    def __init__(self) -> None:
        self.count = 0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._interrupt)

    @property
    def hurried(self) -> bool:
        """Whether a second signal asked to skip the graceful stop."""
        return self.count > 1

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
        if self.count <= 2:
            raise KeyboardInterrupt


class Children:
    """Child processes that are started in groups and stopped in reverse order; their output is printed by line."""

    def __init__(self, console: Console, interruptions: Interruptions, stack: ExitStack) -> None:
        self._console = console
        self._interruptions = interruptions
        self._stack = stack
        self._children: list[ChildProcess] = []
        self._replaced: set[ChildProcess] = set()

    def start(
        self,
        modules: Mapping[str, list[str]],
        environment: Environment,
        *,
        directory: Path | None = None,
        replaced: bool = False,
    ) -> None:
        """Start a group.

        Args:
            modules: For each name a Python module and its arguments.
            environment: Their whole environment.
            directory: Their working directory.
            replaced: Whether `check` starts one again that was killed, as a service manager would.
        """
        group = [self._child(name, arguments, environment, directory) for name, arguments in modules.items()]
        self._stack.callback(self._stop, group)
        for child in group:
            child.start()
        self._children += group
        if replaced:
            self._replaced.update(group)

    def pid_of(self, name: str) -> int:
        """Return the process id of a child."""
        return self._named(name).pid

    def wait_until_ready(self, name: str, url: str) -> None:
        """Wait until `url` answers 200.

        Raises:
            RunError: The child ended, or was not ready in time.
        """
        child = self._named(name)
        try:
            wait_until(
                lambda: probes.answers_ok(url) or not child.alive, timeout_s=_READY_TIMEOUT_S, what=f"{name} at {url}"
            )
        except TimeoutError as error:
            raise RunError(child.explain(str(error))) from error
        self.check()

    def check(self) -> None:
        """Check that all children run, and start those again that may be killed.

        Raises:
            RunError: A child has ended.
        """
        for child in self._children:
            if child.alive:
                continue
            was_killed = child.returncode == -signal.SIGKILL
            if was_killed and child in self._replaced:
                child.kill()  # the rest of its group
                child.start()
                self._console.print(f"{child.name} was killed; it starts again as process {child.pid}")
            else:
                raise RunError(child.explain(f"{child.name} ended with status {child.returncode}"))

    def _named(self, name: str) -> ChildProcess:
        return next(child for child in self._children if child.name == name)

    def _child(self, name: str, arguments: list[str], environment: Environment, directory: Path | None) -> ChildProcess:
        prefix = Text(f"{name:>11} │ ", style=_COLOURS[name])

        def show(line: str) -> None:
            self._console.print(prefix + Text.from_ansi(line), soft_wrap=True)

        return ChildProcess(name, [sys.executable, "-m", *arguments], env=environment, on_line=show, cwd=directory)

    def _stop(self, group: list[ChildProcess]) -> None:
        """Send SIGTERM to the whole group, then wait for each child; kill it after the timeout.

        Each child gets the signal once: a second one would interrupt its orderly end.
        """
        for child in group:
            if child.alive:
                child.signal(signal.SIGTERM)
        for child in reversed(group):
            try:
                child.end(0.0 if self._interruptions.hurried else _STOP_TIMEOUT_S)
            except KeyboardInterrupt:
                child.kill()
