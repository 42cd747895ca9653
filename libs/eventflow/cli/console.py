"""Output of the command: results go to stdout; errors, progress and warnings go to stderr."""

import json
import logging
import sys
from collections.abc import Sequence

import structlog
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from structlog.typing import EventDict, WrappedLogger
from typing_extensions import override

NATURAL_COLUMNS = 10_000
"""Width in which no column is narrowed. A table without a terminal has it, so that each row is one line."""

SESSION_EVENTS = frozenset({"broker.connection_failed", "broker.session_ended", "broker.right_missing"})
"""Log events for services, which reconnect. A command fails with the same reason instead."""

READABLE_COLUMNS = 24
"""Least width of a column with a text of several words."""

COLUMN_GAP = 2
LIST_INDENT = 2

# The output contains texts of senders: none of them may work as markup.
out = Console(markup=False, highlight=False, emoji=False, width=None if sys.stdout.isatty() else NATURAL_COLUMNS)
err = Console(markup=False, highlight=False, emoji=False, stderr=True)


class FittingTable(Table):
    """A table that breaks no word, such as an id: on a narrow console it becomes a list."""

    @override
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        natural = options.update(width=NATURAL_COLUMNS)
        for column in self.columns:
            column.width = None  # of an earlier console
        needed = [_readable(self._measure_column(console, natural, column)) for column in self.columns]
        if sum(size.minimum for size in needed) > options.max_width:
            return self._as_list(options.max_width - LIST_INDENT)
        for column, width in zip(self.columns, _widths(needed, options.max_width), strict=True):
            column.width = width - (0 if column is self.columns[-1] else COLUMN_GAP)
        return super().__rich_console__(console, options)

    def _as_list(self, width: int) -> RenderResult:
        """Yield for each row its first cell, and below it the others with their names, as many on a line as fit."""
        for first, *others in zip(*(column.cells for column in self.columns), strict=True):
            yield first
            line = Text()
            for column, cell in zip(self.columns[1:], others, strict=True):
                pair = _pair(str(column.header), cell)
                if line and cell_len(line.plain) + COLUMN_GAP + cell_len(pair.plain) > width:
                    yield Padding.indent(line, LIST_INDENT)
                    line = Text()
                line = Text(" " * COLUMN_GAP).join(part for part in (line, pair) if part)
            yield Padding.indent(line, LIST_INDENT)


def _readable(size: Measurement) -> Measurement:
    """Return the size of a column with a minimum at which texts are easy to read."""
    return Measurement(max(size.minimum, min(size.maximum, READABLE_COLUMNS)), size.maximum)


def _widths(needed: Sequence[Measurement], width: int) -> list[int]:
    """Share a width among columns: each gets its minimum, and those that need the least more get all that they need."""
    widths = [size.minimum for size in needed]
    spare = width - sum(widths)
    by_need = sorted(range(len(needed)), key=lambda index: needed[index].span)
    for left, index in zip(range(len(needed), 0, -1), by_need, strict=True):
        given = min(needed[index].span, spare // left)
        widths[index] += given
        spare -= given
    return widths


def _pair(name: str, cell: RenderableType) -> Text:
    value = cell if isinstance(cell, Text) else Text(str(cell))
    return Text.assemble((f"{name}: " if name else "", "bold"), value, overflow="fold") if value else value


def table(*columns: str, numbers: tuple[str, ...] = ()) -> FittingTable:
    """Return an empty table; the columns in `numbers` are aligned to the right."""
    made = FittingTable(box=None, pad_edge=False, header_style="bold", padding=(0, COLUMN_GAP, 0, 0))
    for column in columns:
        made.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return made


def print_json(document: object, console: Console = out) -> None:
    """Print one JSON document, for programs."""
    console.print(json.dumps(document, indent=2, default=str), soft_wrap=True)


def printable(text: str) -> str:
    """Escape characters that could command a terminal; line ends and tabs stay."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else character.encode("unicode_escape").decode()
        for character in text
    )


def configure_logs() -> None:
    """Send the warnings and errors of the library to stderr, except those that a command reports in its own words."""
    structlog.configure(
        processors=[_drop_session_events, *structlog.get_config()["processors"]],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    for library in ("aiormq", "aio_pika"):
        logging.getLogger(library).setLevel(logging.CRITICAL)  # our own errors report the same failures


def _drop_session_events(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    if event_dict.get("event") in SESSION_EVENTS:
        raise structlog.DropEvent
    return event_dict
