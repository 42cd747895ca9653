"""The command line that all programs share: `-h`, `--version`, and help as plain text."""

from collections.abc import Callable
from typing import Any, Final

import typer
from typer.models import OptionInfo

from eventflow import __version__

HELP_NAMES: Final = {"help_option_names": ["-h", "--help"]}

PLAIN: Final[dict[str, Any]] = {
    "rich_markup_mode": None,  # its panels show the type of each option: `--help <bool>`
    "pretty_exceptions_enable": False,  # they show the values of variables, such as secrets
    "context_settings": HELP_NAMES,
}
"""Options of each `typer.Typer`."""


def version_option(program: str) -> OptionInfo:
    """Return the option `--version`, which prints the version of a program and ends it."""

    def show(wanted: bool) -> None:
        if wanted:
            typer.echo(f"{program} {__version__}")
            raise typer.Exit

    option: OptionInfo = typer.Option("--version", help="Show the version and exit.", callback=show, is_eager=True)
    return option


def run_program(command: Callable[..., None]) -> None:
    """Run a program that consists of one command, and exit with its status."""
    app = typer.Typer(add_completion=False, **PLAIN)
    app.command()(command)
    app()
