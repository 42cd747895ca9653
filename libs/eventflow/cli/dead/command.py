"""The commands of `eventflow dead`: list, show, count, export, replay and purge dead letters."""

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
from eventflow.cli.assembly import command, new_group
from eventflow.cli.console import err, out, printable, table
from eventflow.cli.dead.browse import DeadQueue, Tally, browse, count, delete, first, replay
from eventflow.cli.dead.dead_letters import Selection, facts_of, record_of, shown_body, shown_reason
from eventflow.cli.options import ConfigOption, DryRunOption, OneFlowOption, one_flow_of, settings_of
from eventflow.errors import EventFlowError
from eventflow.event import format_time

app = new_group(
    "Handle dead letters: events that were given up. "
    "Dead letters that a running command has read are hidden from other commands until it ends, so run one at a time "
    "for each flow. The commands that only read leave every dead letter in the queue. They keep the order too, as "
    "long as at most 10000 dead letters have been read before."
)

ReasonOption = Annotated[
    str | None,
    typer.Option("--reason", metavar="WORD", help="Only dead letters with this reason, such as server_error."),
]
IdArgument = Annotated[str | None, typer.Argument(metavar="ID", help="Id of the event.", show_default=False)]
AllOption = Annotated[bool, typer.Option("--all", help="All dead letters that are in the queue now.")]


@command(app, "list")
def list_dead_letters(
    context: typer.Context,
    flow: OneFlowOption = None,
    reason: ReasonOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Number of dead letters to show, oldest first.")] = 20,
    config: ConfigOption = None,
) -> None:
    """List the oldest dead letters. The queue does not change."""
    queue = _queue(context, config, flow)
    letters, depth = asyncio.run(first(queue, Selection(reason=reason), limit))
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
    out.print(f"{len(letters)} shown of {depth} dead letters of flow {queue.flow}")


@command(app, "show")
def show_dead_letter(
    context: typer.Context,
    id: Annotated[str, typer.Argument(metavar="ID", help="Id of the event.")],  # noqa: A002 - the argument's name
    flow: OneFlowOption = None,
    full: Annotated[bool, typer.Option("--full", help="Show the whole body, even if it is long.")] = False,
    config: ConfigOption = None,
) -> None:
    """Show one dead letter with its headers and body. The queue does not change."""
    queue = _queue(context, config, flow)
    letters, depth = asyncio.run(first(queue, Selection(id=id), 1))
    if not letters:
        raise EventFlowError(_none_has(id, depth, queue.flow))
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


@command(app, "count")
def count_dead_letters(context: typer.Context, flow: OneFlowOption = None, config: ConfigOption = None) -> None:
    """Count the dead letters by reason. The queue does not change.

    A reason marked (RabbitMQ) means that the broker itself dead-lettered the event, not a processor.
    """
    queue = _queue(context, config, flow)
    reasons: Counter[str] = Counter()
    with _reported("counted", queue) as tally:

        async def add(_: Browser, letters: Sequence[Browsed], tally: Tally) -> None:
            reasons.update(printable(shown_reason(letter)) for letter in letters)
            tally.done += len(letters)

        asyncio.run(browse(queue, Selection(), add, tally))
        if reasons:
            shown = table("reason", "dead letters", numbers=("dead letters",))
            for reason, letters in reasons.most_common():
                shown.add_row(reason, str(letters))
            out.print(shown)


@command(app, "export")
def export_dead_letters(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write; - is stdout.")] = Path("-"),
    flow: OneFlowOption = None,
    reason: ReasonOption = None,
    config: ConfigOption = None,
) -> None:
    """Write dead letters as NDJSON. The queue does not change.

    Each line is one JSON object, oldest first.
    """
    queue = _queue(context, config, flow)
    with _opened(file) as sink, _reported("exported", queue, console=err) as tally:

        async def write(_: Browser, letters: Sequence[Browsed], tally: Tally) -> None:
            for letter in letters:
                sink.write(json.dumps(record_of(letter)) + "\n")
            tally.done += len(letters)

        asyncio.run(browse(queue, Selection(reason=reason), write, tally))


@command(app, "replay")
def replay_dead_letters(
    context: typer.Context,
    id: IdArgument = None,  # noqa: A002 - the argument's name
    flow: OneFlowOption = None,
    reason: ReasonOption = None,
    every: AllOption = False,
    dry_run: DryRunOption = False,
    config: ConfigOption = None,
) -> None:
    """Send dead letters again. Their attempts are counted from zero again.

    Each dead letter leaves the queue only after the broker has confirmed its copy in the replay lane. If the command
    fails, an event may be sent twice, and none is lost. Run it again to continue.
    """
    queue, selection = _queue(context, config, flow), _selection(id, reason, every=every)
    with _reported("would replay" if dry_run else "replayed", queue) as tally:
        asyncio.run(browse(queue, selection, count, tally) if dry_run else replay(queue, selection, tally))
    _require_found(selection, tally, queue)


@command(app, "purge")
def purge_dead_letters(
    context: typer.Context,
    id: IdArgument = None,  # noqa: A002 - the argument's name
    flow: OneFlowOption = None,
    reason: ReasonOption = None,
    every: AllOption = False,
    dry_run: DryRunOption = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    config: ConfigOption = None,
) -> None:
    """Delete dead letters permanently, after a confirmation."""
    queue, selection = _queue(context, config, flow), _selection(id, reason, every=every)
    asks = not (yes or dry_run)
    if asks and not sys.stdin.isatty():
        raise typer.BadParameter(
            "there is no terminal to ask for confirmation: use it, or --dry-run", param_hint="--yes"
        )
    at_most = None
    if not yes:
        with _reported("would delete", queue) as found:
            asyncio.run(browse(queue, selection, count, found))
        _require_found(selection, found, queue)
        if dry_run or not found.done:
            return
        typer.confirm("Delete them permanently?", abort=True)
        at_most = found.seen  # those that were confirmed; dead letters that came later are behind them
    with _reported("deleted", queue) as tally:
        asyncio.run(browse(queue, selection, delete, tally, at_most=at_most))
    _require_found(selection, tally, queue)


def _queue(context: typer.Context, config: Path | None, flow: str | None) -> DeadQueue:
    settings = settings_of(context, config)
    return DeadQueue(settings=settings, flow=one_flow_of(settings, flow))


def _selection(event_id: str | None, reason: str | None, *, every: bool) -> Selection:
    if (event_id is not None) + (reason is not None) + every != 1:
        raise typer.BadParameter("exactly one of them is expected", param_hint="ID, --reason or --all")
    return Selection(id=event_id, reason=reason)


@contextmanager
def _reported(done: str, queue: DeadQueue, *, console: Console = out) -> Iterator[Tally]:
    """Print the number of dead letters that were handled, even if an error ends the command half-way."""
    tally = Tally()
    try:
        yield tally
    except BaseException:
        if tally.done:
            err.print(f"{done} {tally.done} dead letters of flow {queue.flow}, then failed")
        raise
    console.print(f"{done} {tally.done} of {tally.seen} dead letters of flow {queue.flow}")


def _require_found(selection: Selection, tally: Tally, queue: DeadQueue) -> None:
    if selection.id is not None and not tally.done:
        raise EventFlowError(_none_has(selection.id, tally.seen, queue.flow))


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
