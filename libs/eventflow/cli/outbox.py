"""`eventflow outbox`: parked rows, which the relay does not try any more."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from eventflow.cli.actions import record
from eventflow.cli.assembly import command, new_group
from eventflow.cli.console import out, print_json, printable, table
from eventflow.cli.options import (
    ConfigOption,
    DryRunOption,
    FlowOption,
    JsonOption,
    YesOption,
    require_terminal,
    settings_of,
)
from eventflow.errors import EventFlowError
from eventflow.event import format_time
from eventflow.operations import parked_rows
from eventflow.operations.databases import outbox_url_of
from eventflow.outbox.parked import ParkedSelection
from eventflow.outbox.row import Row
from eventflow.settings.root import Settings

NumbersArgument = Annotated[
    list[int] | None, typer.Argument(metavar="[NUMBERS]", help="Numbers of parked rows, as `outbox list` shows them.")
]
AllOption = Annotated[bool, typer.Option("--all", help="All parked rows.")]

app = new_group(
    "Handle parked rows of the outbox: events that the relay could not publish for a reason of their own. "
    "EVENTFLOW_RELAY__DATABASE_URL names the database."
)


@command(app, "list")
def list_rows(
    context: typer.Context,
    flow: FlowOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Number of rows to show, oldest first.")] = 20,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """List the oldest parked rows, with the reason of each."""
    url = outbox_url_of(settings_of(context, config))
    found = asyncio.run(parked_rows.find(url, ParkedSelection(flow=flow), limit=limit))
    if as_json:
        print_json({"parked": found.total, "shown": [_document_of(row) for row in found.rows]})
        return
    shown = table(
        "number", "flow", "id", "type", "bytes", "tries", "parked", "error", numbers=("number", "bytes", "tries")
    )
    for row in found.rows:
        shown.add_row(
            str(row["number"]),
            row["flow"],
            printable(row["id"]),
            printable(row["type"]),
            str(row["body_bytes"]),
            str(row["tries"]),
            format_time(row["parked_at"]),
            printable(row["error"] or "-"),
        )
    if found.rows:
        out.print(shown)
    out.print(f"{len(found.rows)} shown of {found.total} parked rows")


@command(app, "retry")
def retry_rows(
    context: typer.Context,
    numbers: NumbersArgument = None,
    flow: FlowOption = None,
    every: AllOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Let the relay try parked rows again. Their tries are counted from zero again.

    Select them by numbers, by --flow, or by --all.
    """
    settings, selection = _selected(context, config, numbers, flow, every=every)
    url = outbox_url_of(settings)
    found = asyncio.run(parked_rows.find(url, selection, limit=0))
    _require_found(found, numbers)
    if dry_run:
        _report("would retry", found.total, as_json=as_json)
        return
    _report("retried", asyncio.run(parked_rows.retry(url, found.selection)), as_json=as_json)
    _record(settings, "outbox-retry", found)


@command(app, "delete")
def delete_rows(
    context: typer.Context,
    numbers: NumbersArgument = None,
    flow: FlowOption = None,
    every: AllOption = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Delete parked rows permanently, after a confirmation. Their events are lost.

    Select them by numbers, by --flow, or by --all.
    """
    settings, selection = _selected(context, config, numbers, flow, every=every)
    if not (yes or dry_run):
        require_terminal(or_give="this option, or --dry-run")
    url = outbox_url_of(settings)
    found = asyncio.run(parked_rows.find(url, selection, limit=0))
    _require_found(found, numbers)
    if dry_run:
        _report("would delete", found.total, as_json=as_json)
        return
    if found.total and not yes:
        typer.confirm(f"Delete {_in_words(found.total)} permanently?", abort=True, err=True)
    # Those that were counted: a row that is parked after the question stays.
    _report("deleted", asyncio.run(parked_rows.delete(url, found.selection)), as_json=as_json)
    _record(settings, "outbox-delete", found)


def _selected(
    context: typer.Context, config: Path | None, numbers: Sequence[int] | None, flow: str | None, *, every: bool
) -> tuple[Settings, ParkedSelection]:
    if bool(numbers) + (flow is not None) + every != 1:
        raise typer.BadParameter("exactly one of them is expected", param_hint="numbers, --flow or --all")
    return settings_of(context, config), ParkedSelection(numbers=numbers or None, flow=flow)


def _require_found(found: parked_rows.Found, numbers: Sequence[int] | None) -> None:
    """Check that each number is that of a parked row.

    Raises:
        EventFlowError: One is not, so nothing is changed.
    """
    if numbers and found.total < len(set(numbers)):
        raise EventFlowError(
            f"only {found.total} of these {len(set(numbers))} numbers are those of parked rows; nothing was changed"
        )


def _report(done: str, rows: int, *, as_json: bool) -> None:
    if as_json:
        print_json({done.replace(" ", "_"): rows})
    else:
        out.print(f"{done} {_in_words(rows)}")


def _record(settings: Settings, kind: str, found: parked_rows.Found) -> None:
    for flow, rows in found.flows.items():
        record(settings, kind, flow=flow, detail=_in_words(rows))


def _in_words(rows: int) -> str:
    return f"{rows} parked row{'' if rows == 1 else 's'}"


def _document_of(row: Row) -> dict[str, object]:
    times = {name: format_time(row[name]) for name in ("created_at", "parked_at")}
    return {**row, **times}
