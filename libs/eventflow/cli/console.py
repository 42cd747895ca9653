"""Where the command writes: results to stdout; errors, progress and warnings to stderr."""

import logging
import sys

import structlog
from rich.console import Console
from rich.table import Table

PIPED_COLUMNS = 200
"""Width of a table that no terminal bounds: ids stay whole on one line."""

# What is shown comes from strangers too: nothing in it may be taken for markup.
out = Console(markup=False, highlight=False, emoji=False, width=None if sys.stdout.isatty() else PIPED_COLUMNS)
err = Console(markup=False, highlight=False, emoji=False, stderr=True)


def table(*columns: str, numbers: tuple[str, ...] = ()) -> Table:
    """Return an empty table; the columns in `numbers` are aligned to the right."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return made


def printable(text: str) -> str:
    """Escape what a terminal would take for a command, keeping line ends and tabs."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else character.encode("unicode_escape").decode()
        for character in text
    )


def configure_logs() -> None:
    """Let the library's warnings through, to stderr, and nothing below."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    for library in ("aiormq", "aio_pika"):
        logging.getLogger(library).setLevel(logging.CRITICAL)  # their noise is told by our own errors
