"""The operator's command `eventflow`: is everything well, how much waits, how fast it goes, and the dead letters."""

from eventflow.service.entry import begin

begin()

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from eventflow.cli import check, dead, reference, status, topology, why
from eventflow.cli import overrides as runtime
from eventflow.cli.console import configure_logs, err
from eventflow.cli.options import ConfigOption
from eventflow.errors import EventFlowError, SettingsError
from eventflow.service.lifecycle import EXIT_CONFIGURATION, EXIT_PROBLEM

app = typer.Typer(
    name="eventflow",
    help="Look after Event Flow: check it, watch it, steer it, and deal with the events that were given up.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("check")(check.command)
app.command("status")(status.command)
app.command("why")(why.command)
app.command("pause")(runtime.pause)
app.command("resume")(runtime.resume)
app.command("topology")(topology.command)
app.command("settings")(reference.command)
app.add_typer(dead.app, name="dead")
app.add_typer(runtime.app, name="rate")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"eventflow {version('event-flow')}")
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    config: ConfigOption = None,
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version and leave.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Keep what every command may need."""
    context.obj = config


def main() -> None:
    """Entry point of `eventflow`: exit status 0 fine, 1 a problem, 2 wrong usage, 78 a wrong setting."""
    configure_logs()
    try:
        app()
    except EventFlowError as error:
        err.print(f"error: {error}", style="red", soft_wrap=True)
        sys.exit(EXIT_CONFIGURATION if isinstance(error, SettingsError) else EXIT_PROBLEM)
