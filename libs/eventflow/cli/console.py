"""Output of the command: results go to stdout; errors, progress and warnings go to stderr."""

import logging
import sys

import structlog
from rich.console import Console
from rich.table import Table

PIPED_COLUMNS = 200
"""Width of a table without a terminal, so that each id stays on one line."""

# The output contains texts of senders: none of them may work as markup.
out = Console(markup=False, highlight=False, emoji=False, width=None if sys.stdout.isatty() else PIPED_COLUMNS)
err = Console(markup=False, highlight=False, emoji=False, stderr=True)


def table(*columns: str, numbers: tuple[str, ...] = ()) -> Table:
    """Return an empty table; the columns in `numbers` are aligned to the right."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return made


def printable(text: str) -> str:
    """Escape characters that could command a terminal; line ends and tabs stay."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else character.encode("unicode_escape").decode()
        for character in text
    )


def configure_logs() -> None:
    """Send the warnings and errors of the library to stderr, and drop everything below."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    for library in ("aiormq", "aio_pika"):
        logging.getLogger(library).setLevel(logging.CRITICAL)  # our own errors report the same failures
