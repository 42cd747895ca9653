"""`eventflow dead`: look at the events that were given up, send them again, write them out, or delete them."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich.console import Console

from eventflow.amqp.browser import Browsed, Browser
from eventflow.cli.browse import Place, Tally, browse, count, delete, first, replay
from eventflow.cli.console import err, out, printable, table
from eventflow.cli.dead_letters import Selection, facts_of, record_of, shown_body, shown_reason
from eventflow.cli.options import ConfigOption, DryRunOption, one_flow_of, settings_of
from eventflow.errors import EventFlowError
from eventflow.event import format_time

app = typer.Typer(
    help="Look at the events that were given up, send them again, write them out, or delete them. "
    "What a running command reads is hidden from others until it ends: run one at a time for each flow. "
    "Looking keeps the queue whole, and its order too while at most 10000 letters have been looked at before.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

FlowOption = Annotated[
    str | None,
    typer.Option("--flow", metavar="NAME", help="The flow; by default the only one, else `default`."),
]
ReasonOption = Annotated[
    str | None,
    typer.Option("--reason", metavar="WORD", help="Only those given up for this reason, such as server_error."),
]
IdArgument = Annotated[str | None, typer.Argument(metavar="ID", help="The event's id.", show_default=False)]
AllOption = Annotated[bool, typer.Option("--all", help="Every dead letter that is there now.")]


@app.command("list")
def list_letters(
    context: typer.Context,
    flow: FlowOption = None,
    reason: ReasonOption = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to show, oldest first.")] = 20,
    config: ConfigOption = None,
) -> None:
    """Show the oldest dead letters; the queue stays as it is."""
    place = _place(context, config, flow)
    letters, depth = asyncio.run(first(place, Selection(reason=reason), limit))
    shown = table("id", "type", "reason", "status", "attempts", "last failed", "bytes", numbers=("attempts", "bytes"))
    for letter in letters:
        failure = letter.envelope.failure
        shown.add_row(
            letter.envelope.event.id,
            letter.envelope.event.type,
            printable(shown_reason(letter)),
            str(failure.status) if failure and failure.status else "-",
            str(letter.envelope.attempt),
            format_time(failure.last_at) if failure else "-",
            str(len(letter.envelope.event.body)),
        )
    if letters:
        out.print(shown)
    out.print(f"{len(letters)} shown of {depth} dead letters of flow {place.flow}")


@app.command("show")
def show_letter(
    context: typer.Context,
    id: Annotated[str, typer.Argument(metavar="ID", help="The event's id.")],  # noqa: A002 - the argument's name
    flow: FlowOption = None,
    full: Annotated[bool, typer.Option("--full", help="Show the whole body, however long.")] = False,
    config: ConfigOption = None,
) -> None:
    """Show one dead letter with its headers and body; the queue stays as it is."""
    place = _place(context, config, flow)
    letters, depth = asyncio.run(first(place, Selection(id=id), 1))
    if not letters:
        raise EventFlowError(_none_has(id, depth, place.flow))
    letter = letters[0]
    facts = table("", "")
    facts.show_header = False
    for name, value in facts_of(letter):
        facts.add_row(name, printable(value))
    for name, value in letter.headers.items():
        facts.add_row("header", printable(f"{name}: {value}"))
    out.print(facts)
    out.print()
    out.print(shown_body(letter.envelope.event.body, full=full), soft_wrap=True)


@app.command("count")
def count_letters(context: typer.Context, flow: FlowOption = None, config: ConfigOption = None) -> None:
    """Count the dead letters by reason; the queue stays as it is. Those marked RabbitMQ the broker itself gave up."""
    place = _place(context, config, flow)
    reasons: Counter[str] = Counter()
    with _told("counted", place) as tally:

        async def add(_: Browser, letters: Sequence[Browsed], tally: Tally) -> None:
            reasons.update(printable(shown_reason(letter)) for letter in letters)
            tally.done += len(letters)

        asyncio.run(browse(place, Selection(), add, tally))
        if reasons:
            shown = table("reason", "dead letters", numbers=("dead letters",))
            for reason, letters in reasons.most_common():
                shown.add_row(reason, str(letters))
            out.print(shown)


@app.command("export")
def export_letters(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write; - is stdout.")] = Path("-"),
    flow: FlowOption = None,
    reason: ReasonOption = None,
    config: ConfigOption = None,
) -> None:
    """Write dead letters as NDJSON, one object a line, oldest first; the queue stays as it is."""
    place = _place(context, config, flow)
    with _opened(file) as sink, _told("exported", place, console=err) as tally:

        async def write(_: Browser, letters: Sequence[Browsed], tally: Tally) -> None:
            for letter in letters:
                sink.write(json.dumps(record_of(letter)) + "\n")
            tally.done += len(letters)

        asyncio.run(browse(place, Selection(reason=reason), write, tally))


@app.command("replay")
def replay_letters(
    context: typer.Context,
    id: IdArgument = None,  # noqa: A002 - the argument's name
    flow: FlowOption = None,
    reason: ReasonOption = None,
    every: AllOption = False,
    dry_run: DryRunOption = False,
    config: ConfigOption = None,
) -> None:
    """Send dead letters again, their attempts starting anew.

    Each leaves the dead queue only after the broker has confirmed its copy in the replay lane: whatever happens on the
    way duplicates an event at most, and running the command again goes on where it stopped.
    """
    place, selection = _place(context, config, flow), _selection(id, reason, every=every)
    with _told("would replay" if dry_run else "replayed", place) as tally:
        asyncio.run(browse(place, selection, count, tally) if dry_run else replay(place, selection, tally))
    _require_found(selection, tally, place)


@app.command("purge")
def purge_letters(
    context: typer.Context,
    id: IdArgument = None,  # noqa: A002 - the argument's name
    flow: FlowOption = None,
    reason: ReasonOption = None,
    every: AllOption = False,
    dry_run: DryRunOption = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: ConfigOption = None,
) -> None:
    """Delete dead letters for good, after asking."""
    place, selection = _place(context, config, flow), _selection(id, reason, every=every)
    asks = not (yes or dry_run)
    if asks and not sys.stdin.isatty():
        raise typer.BadParameter("there is no terminal to ask on: give it, or --dry-run", param_hint="--yes")
    at_most = None
    if not yes:
        with _told("would delete", place) as found:
            asyncio.run(browse(place, selection, count, found))
        _require_found(selection, found, place)
        if dry_run or not found.done:
            return
        typer.confirm("Delete them for good?", abort=True)
        at_most = found.seen  # what was asked about: later ones stand behind these
    with _told("deleted", place) as tally:
        asyncio.run(browse(place, selection, delete, tally, at_most=at_most))
    _require_found(selection, tally, place)


def _place(context: typer.Context, config: Path | None, flow: str | None) -> Place:
    settings = settings_of(context, config)
    return Place(settings=settings, flow=one_flow_of(settings, flow))


def _selection(event_id: str | None, reason: str | None, *, every: bool) -> Selection:
    if (event_id is not None) + (reason is not None) + every != 1:
        raise typer.BadParameter("exactly one of them is expected", param_hint="ID, --reason or --all")
    return Selection(id=event_id, reason=reason)


@contextmanager
def _told(what: str, place: Place, *, console: Console = out) -> Iterator[Tally]:
    """Tell what was done, also where an error ends it half-way."""
    tally = Tally()
    try:
        yield tally
    except BaseException:
        if tally.done:
            err.print(f"{what} {tally.done} dead letters of flow {place.flow}, then failed")
        raise
    console.print(f"{what} {tally.done} of {tally.seen} dead letters of flow {place.flow}")


def _require_found(selection: Selection, tally: Tally, place: Place) -> None:
    if selection.id is not None and not tally.done:
        raise EventFlowError(_none_has(selection.id, tally.seen, place.flow))


def _none_has(event_id: str, depth: int, flow: str) -> str:
    return f"none of the {depth} dead letters of flow {flow} has the id {printable(event_id)}"


@contextmanager
def _opened(file: Path) -> Iterator[TextIO]:
    if str(file) == "-":
        yield sys.stdout
        return
    part = file.with_name(f"{file.name}.part")  # an export that fails leaves no file that looks whole
    try:
        with part.open("w", encoding="utf-8") as sink:
            yield sink
        part.replace(file)
    except OSError as error:
        raise EventFlowError(f"cannot write {file}: {error.strerror}") from error
