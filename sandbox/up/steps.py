"""The steps of a start: a display in a terminal, and elsewhere one line at the end of each step."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

_REFRESH_PER_S = 8
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class Steps:
    """The steps and their durations. Use it as a context manager around the start."""

    def __init__(self, console: Console, *names: str) -> None:
        """Prepare; no step has begun.

        Args:
            console: The console, on which other lines may appear above the display meanwhile.
            names: The steps in the order of their ends.
        """
        self._console = console
        self._names = names
        self._began_s: dict[str, float] = {}
        self._ended_s: dict[str, float] = {}
        self._live = Live(self, console=console, transient=True, refresh_per_second=_REFRESH_PER_S)

    def begin(self, *names: str) -> None:
        """Begin steps."""
        self._began_s |= dict.fromkeys(names, time.monotonic())

    def end(self, name: str) -> None:
        """End a step."""
        self._ended_s[name] = time.monotonic()
        if not self._console.is_terminal:
            self._console.print(self._line(name), soft_wrap=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for name in self._names:
            yield self._line(name)

    def _line(self, name: str) -> Text:
        if name not in self._began_s:
            return Text(f"  {name}", style="dim")
        ended_s = self._ended_s.get(name)
        took = f"{(ended_s or time.monotonic()) - self._began_s[name]:.1f} s"
        if ended_s is not None:
            return Text(f"✓ {name}: ready after {took}", style="green")
        return Text(f"{_FRAMES[int(time.monotonic() * _REFRESH_PER_S) % len(_FRAMES)]} {name} starts: {took}")
