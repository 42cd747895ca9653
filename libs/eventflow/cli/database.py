"""`eventflow database`: the tables inbox and outbox."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from eventflow.cli.assembly import command, new_group
from eventflow.cli.console import out, print_json, printable, table
from eventflow.cli.options import ConfigOption, JsonOption, settings_of
from eventflow.database.migrations import MIGRATIONS
from eventflow.history.opening import shown_url
from eventflow.operations import databases

if TYPE_CHECKING:
    from eventflow.database.upkeep import DatabaseReport

app = new_group(
    "Maintain the tables inbox and outbox. EVENTFLOW_RELAY__DATABASE_URL, and the database_url of each handler, name "
    "their databases."
)


@command(app)
def check(context: typer.Context, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Check each database: the version of the tables, and the rights of the role.

    The exit status is 1 if there is a problem.
    """
    uses = databases.databases_of(settings_of(context, config))
    reports = [(url, asyncio.run(databases.report_of(url, used))) for url, used in uses.items()]
    if as_json:
        print_json({"databases": [_document_of(url, report) for url, report in reports]})
    else:
        _print(reports)
    if any(report.problems for _, report in reports):
        raise typer.Exit(1)


@command(app)
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
    """Bring the tables in each database to the version of this program.

    Only one process migrates at a time. If the tables are up to date, nothing changes.
    """
    if sql:
        for step in MIGRATIONS:
            typer.echo(f"-- {step.name}\n{step.sql.strip()}\n")
        return
    done = []
    for url, uses in databases.databases_of(settings_of(context, config)).items():
        # First a look, because it finds out soon that the database is away.
        version = asyncio.run(databases.report_of(url, uses)).version
        steps = [step.name for step in MIGRATIONS[version:]] if dry_run else asyncio.run(databases.migrate(url))
        done.append({"database": shown_url(url), "done": list(steps)})
        if not as_json:
            _print_steps(shown_url(url), steps, "missing" if dry_run else "made")
    if as_json:
        print_json({"databases": done})


def _document_of(url: str, report: "DatabaseReport") -> dict[str, object]:
    return {
        "database": shown_url(url),
        "version": report.version,
        "expected_version": report.expected_version,
        "problems": list(report.problems),
    }


def _print(reports: Sequence[tuple[str, "DatabaseReport"]]) -> None:
    shown = table("database", "version", "needed", numbers=("version", "needed"))
    for url, report in reports:
        shown.add_row(printable(shown_url(url)), str(report.version), str(report.expected_version))
    out.print(shown)
    for url, report in reports:
        for problem in report.problems:
            out.print(f"problem: {printable(f'{shown_url(url)}: {problem}')}", soft_wrap=True)


def _print_steps(place: str, steps: Sequence[str], done: str) -> None:
    for name in steps:
        out.print(f"{done}: {name} in {printable(place)}", soft_wrap=True)
    if not steps:
        out.print(f"the tables in {printable(place)} are up to date", soft_wrap=True)
