"""`eventflow`: assembles the commands, and turns errors into exit statuses."""

from eventflow.service.entry import begin, imported

begin()

import sys
from typing import Annotated

import typer

from eventflow import __version__
from eventflow.cli import overrides
from eventflow.cli.check.command import check
from eventflow.cli.console import configure_logs, err
from eventflow.cli.dead import command as dead
from eventflow.cli.init.command import init
from eventflow.cli.options import ConfigOption
from eventflow.cli.settings import settings
from eventflow.cli.size import size
from eventflow.cli.status.command import status
from eventflow.cli.topology import topology
from eventflow.cli.why import why
from eventflow.errors import EventFlowError, SettingsError
from eventflow.service.lifecycle import EXIT_CONFIGURATION, EXIT_PROBLEM

imported()

app = typer.Typer(
    name="eventflow",
    help="Operate Event Flow: check it, watch its queues, change its rate, and handle dead letters.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(init)
app.command()(check)
app.command()(status)
app.command()(why)
app.command()(overrides.pause)
app.command()(overrides.resume)
app.command()(topology)
app.command()(settings)
app.command()(size)
app.add_typer(dead.app, name="dead")
app.add_typer(overrides.app, name="rate")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"eventflow {__version__}")
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    config: ConfigOption = None,
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Keep `--config` for the command after it."""
    context.obj = config


def main() -> None:
    """Entry point of `eventflow`: exit status 0 is success, 1 a problem, 2 wrong usage, 78 a wrong setting."""
    configure_logs()
    try:
        app()
    except EventFlowError as error:
        err.print(f"error: {error}", style="red", soft_wrap=True)
        sys.exit(EXIT_CONFIGURATION if isinstance(error, SettingsError) else EXIT_PROBLEM)


if __name__ == "__main__":
    main()
