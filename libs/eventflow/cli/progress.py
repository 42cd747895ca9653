"""The progress bar of a command that handles many events."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from eventflow.cli.console import err


class Counting(Protocol):
    """A tally of events.

    Attributes:
        total: Events at the start; 0 until it is known.
        seen: Events that were handled, or passed over.
        on_read: Called after each change.
    """

    total: int
    seen: int
    on_read: Callable[[], None]


@contextmanager
def shown_progress(name: str, tally: Counting) -> Iterator[None]:
    """Show the progress in a tally on the terminal, if there is one."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    ) as progress:
        bar = progress.add_task(name, total=None)
        tally.on_read = lambda: progress.update(bar, completed=tally.seen, total=tally.total)
        yield
