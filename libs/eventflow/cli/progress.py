"""The progress bar of a command that handles many events."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from eventflow.cli.console import err
from eventflow.operations.tally import Tally


@contextmanager
def shown_progress(name: str, tally: Tally) -> Iterator[None]:
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
