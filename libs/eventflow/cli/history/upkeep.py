"""`eventflow history check`, `migrate`, `prune` and `forget`: the store itself."""

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated

import typer

from eventflow.cli.actions import record
from eventflow.cli.console import out, print_json, printable, table
from eventflow.cli.history.shown import facts_of
from eventflow.cli.history.store import store_name, with_history
from eventflow.cli.options import ConfigOption, JsonOption, YesOption, moment_option, require_terminal, settings_of
from eventflow.errors import HistorySchemaError
from eventflow.event import format_time, utc_now
from eventflow.history.opening import migrations_of, path_of
from eventflow.history.store import HistoryStore, StoreReport
from eventflow.operations.history.event import ATTEMPTS_MAX, event_history
from eventflow.operations.history.session import in_time, url_of
from eventflow.operations.history.words import attempts_in_words

HASH_CHARACTERS = 16


def check(context: typer.Context, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Check the store: schema, rights, size and oldest attempt.

    The exit status is 1 if there is a problem.
    """
    settings = settings_of(context, config)
    report = with_history(settings, report_of)
    if as_json:
        print_json(_document_of(report, store_name(settings)))
    else:
        facts = table("", "")
        facts.show_header = False
        for name, value in facts_of(report, store_name(settings)):
            facts.add_row(name, printable(value))
        out.print(facts)
        for problem in report.problems:
            out.print(f"problem: {printable(problem)}", soft_wrap=True)
    if report.problems:
        raise typer.Exit(1)


async def report_of(store: HistoryStore) -> StoreReport:
    """Return the state of a store, within 2 s.

    Raises:
        HistoryUnavailableError: The store cannot be reached.
    """
    async with in_time():
        return await store.check()


def _document_of(report: StoreReport, store: str) -> dict[str, object]:
    return {
        "store": store,
        "kind": report.kind,
        "version": report.version,
        "expected_version": report.expected_version,
        "size_bytes": report.size_bytes,
        "oldest": None if report.oldest is None else format_time(report.oldest),
        "problems": list(report.problems),
    }


def migrate(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the missing steps, and change nothing.")] = False,
    sql: Annotated[
        bool,
        typer.Option("--sql", help="Print the SQL of all steps, for an administrator of PostgreSQL. Connect nowhere."),
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Bring the schema of the store to the version of this program.

    Only one process migrates at a time. If the schema is up to date, nothing changes.
    """
    settings = settings_of(context, config)
    url = url_of(settings.history)
    if sql:
        if path_of(url) is not None:
            raise typer.BadParameter(
                "it is for PostgreSQL; processors migrate an SQLite file by themselves", param_hint="--sql"
            )
        for step in migrations_of(url):
            typer.echo(f"-- {step.name}\n{step.sql.strip()}\n")
        return

    async def work(store: HistoryStore) -> Sequence[str]:
        report = await report_of(store)  # first, because it finds out soon that the store is away
        return [step.name for step in migrations_of(url)[report.version :]] if dry_run else await store.migrate()

    names = with_history(settings, work)
    done = "missing" if dry_run else "made"
    if as_json:
        print_json({"store": store_name(settings), done: list(names)})
        return
    for name in names:
        out.print(f"{done}: {name}")
    if not names:
        out.print(f"the schema of {store_name(settings)} is up to date", soft_wrap=True)


def prune(
    context: typer.Context,
    before: Annotated[
        str | None,
        typer.Option(
            "--before",
            metavar="TIME",
            help="Delete all attempts that are older, such as 2026-11-28 or 2d; by default RETENTION_DAYS decides.",
        ),
    ] = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Delete the records that are older than their retention. Processors do this by themselves every hour.

    PostgreSQL deletes only whole days (UTC), so attempts of one more day may stay.
    """
    settings = settings_of(context, config)
    history, now = settings.history, utc_now()
    moment = moment_option(before, "--before") or now - timedelta(days=history.retention_days)
    if moment > now:
        raise typer.BadParameter(f"{format_time(moment)} is in the future", param_hint="--before")
    if before is not None:
        _confirm(f"Delete all attempts before {format_time(moment)} permanently?", yes=yes)

    async def work(store: HistoryStore) -> StoreReport:
        report = await report_of(store)  # first, because it finds out soon that the store is away
        if report.version != report.expected_version:
            raise HistorySchemaError("; ".join(report.problems))
        minutes = timedelta(days=history.minutes_retention_days)
        await store.maintain(attempts=now - moment, minutes=minutes, now=now)
        return await report_of(store)

    report = with_history(settings, work)
    oldest = None if report.oldest is None else format_time(report.oldest)
    if before is not None:
        for flow in settings.all_flows:
            record(settings, "prune", flow=flow, detail=f"attempts before {format_time(moment)}")
    if as_json:
        print_json({"before": format_time(moment), "oldest": oldest, "size_bytes": report.size_bytes})
    else:
        out.print(f"deleted the attempts before {format_time(moment)}; the oldest on record: {oldest or 'none'}")


def forget(
    context: typer.Context,
    id: Annotated[str, typer.Argument(metavar="ID", help="Id of the event.")],  # noqa: A002 - the argument's name
    yes: YesOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Delete the attempts of one event in all flows, such as personal data in the target's answers.

    The event itself is not deleted. It may wait in a queue, or be a dead letter, which `eventflow dead purge` deletes.
    The action is put on record with a hash of the id, not with the id.
    """
    settings = settings_of(context, config)

    async def found(store: HistoryStore) -> tuple[str, ...]:
        async with in_time():
            history = await event_history(store, id)
        return tuple(attempt.flow for attempt in history.attempts)

    flows = with_history(settings, found)
    if flows and not yes:
        found_all = "" if len(flows) < ATTEMPTS_MAX else "at least "
        number = found_all + attempts_in_words(len(flows))
        _confirm(f"Delete {number} of flow {', '.join(sorted(set(flows)))} permanently?", yes=yes)
    deleted = with_history(settings, lambda store: store.forget(id))
    for flow in sorted(set(flows)):
        record(settings, "forget", flow=flow, detail=f"event with the hash {hash_of(id)}")
    if as_json:
        print_json({"id": id, "deleted": deleted})
    else:
        out.print(printable(f"deleted {attempts_in_words(deleted)} of the event {id}"), soft_wrap=True)


def hash_of(event_id: str) -> str:
    """Return the hash that stands for a forgotten id: a person who knows the id can find the action by it."""
    return hashlib.sha256(event_id.encode()).hexdigest()[:HASH_CHARACTERS]


def _confirm(question: str, *, yes: bool) -> None:
    if yes:
        return
    require_terminal()
    typer.confirm(question, abort=True, err=True)
