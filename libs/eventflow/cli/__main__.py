"""`eventflow`: assembles the commands, and turns errors into exit statuses."""

from eventflow.service.entry import begin, imported

begin()

import sys
from typing import Annotated

import typer

from eventflow.cli import database, outbox, overrides, sample, sources, spool, users
from eventflow.cli.assembly import add_group, command, new_group
from eventflow.cli.check.command import check
from eventflow.cli.console import configure_logs, err, printable
from eventflow.cli.dead import command as dead
from eventflow.cli.history import command as history
from eventflow.cli.init.command import init
from eventflow.cli.options import ConfigOption
from eventflow.cli.settings import settings
from eventflow.cli.size import size
from eventflow.cli.status.command import status
from eventflow.cli.topology import topology
from eventflow.cli.why import why
from eventflow.errors import EventFlowError, SettingsError
from eventflow.service.lifecycle import EXIT_CONFIGURATION, EXIT_PROBLEM
from eventflow.service.program import version_option

imported()

app = new_group(
    "Operate Event Flow: check it, watch its queues, change its rate, and handle dead letters.",
    name="eventflow",
    add_completion=True,
)
for function in (
    init,
    sources.sources,
    check,
    status,
    why,
    overrides.pause,
    overrides.resume,
    topology,
    settings,
    size,
):
    command(app)(function)
add_group(app, database.app, "database")
add_group(app, dead.app, "dead")
add_group(app, history.app, "history")
add_group(app, outbox.app, "outbox")
add_group(app, overrides.app, "rate")
add_group(app, sample.app, "source")
add_group(app, spool.app, "spool")
add_group(app, users.app, "console")


@app.callback()
def common(
    context: typer.Context,
    config: ConfigOption = None,
    _version: Annotated[bool, version_option("eventflow")] = False,
) -> None:
    """Keep `--config` for the command after it."""
    context.obj = config


def main() -> None:
    """Entry point of `eventflow`: exit status 0 is success, 1 a problem, 2 wrong usage, 78 a wrong setting."""
    configure_logs()
    try:
        app()
    except EventFlowError as error:
        err.print(printable(f"error: {error}"), style="red", soft_wrap=True)
        sys.exit(EXIT_CONFIGURATION if isinstance(error, SettingsError) else EXIT_PROBLEM)


if __name__ == "__main__":
    main()
