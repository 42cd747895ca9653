"""Servers that the sandbox provides: the notice before an installation, and the error if there is no server."""

from rich.console import Console


class NotAvailable(Exception):  # noqa: N818 - the name states a condition, which the command reports
    """A server can be neither used nor started here; the text lists the ways to get one."""

    exit_status = 3


def print_notice(text: str) -> None:
    """Print a notice on standard error."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(text, style="yellow", markup=False)
