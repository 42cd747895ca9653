"""Actions of the command on record."""

import asyncio

from eventflow.cli.console import err, printable
from eventflow.operations.history.actions import new_action, record_action
from eventflow.operations.operator import operator
from eventflow.settings.root import Settings


def record(settings: Settings, kind: str, *, flow: str, detail: str = "") -> None:
    """Put an action that is done on record, if a history is configured. A failure is only a warning."""
    action = new_action(kind, by=operator(), flow=flow, detail=detail)
    if missing := asyncio.run(record_action(settings.history, action)):
        err.print(f"warning: this is not on record: {printable(missing)}", style="yellow", soft_wrap=True)
