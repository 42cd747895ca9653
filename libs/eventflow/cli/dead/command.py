"""The commands of `eventflow dead`: list, show, count, export, replay and purge dead letters."""

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from eventflow.amqp.browser import Browsed, Browser
from eventflow.cli.actions import record
from eventflow.cli.assembly import command, new_group
from eventflow.cli.bodies import shown_body
from eventflow.cli.connection import with_link
from eventflow.cli.console import err, out, print_json, printable, table
from eventflow.cli.dead.export_files import reading
from eventflow.cli.dead.options import (
    AllOption,
    IdsArgument,
    ReasonOption,
    SinceOption,
    StatusOption,
    TypeOption,
    UntilOption,
    selection_of,
)
from eventflow.cli.dead.shown import facts_of
from eventflow.cli.new_file import STANDARD_STREAM, writing
from eventflow.cli.options import (
    ConfigOption,
    DryRunOption,
    JsonOption,
    OneFlowOption,
    YesOption,
    one_flow_of,
    require_terminal,
    settings_of,
)
from eventflow.cli.progress import shown_progress
from eventflow.errors import EventFlowError
from eventflow.operations.dead.browse import (
    UNBOUNDED,
    Action,
    Bounds,
    DeadQueue,
    DeadTally,
    browse,
    count,
    delete,
    first,
)
from eventflow.operations.dead.exports import exported
from eventflow.operations.dead.letters import forwarded_of, headers_of, shown_cause, shown_reason, summary_of
from eventflow.operations.dead.replay import replay, replay_file
from eventflow.operations.dead.selection import Selection, in_words
from eventflow.settings.root import Settings

app = new_group(
    "Handle dead letters: events that were given up. "
    "Dead letters that a running command has read are hidden from other commands until it ends, so run one at a time "
    "for each flow. The commands that only read leave every dead letter in the queue. They keep the order too, as "
    "long as at most 10000 dead letters have been read before."
)


@command(app, "list")
def list_dead_letters(
    context: typer.Context,
    flow: OneFlowOption = None,
    reason: ReasonOption = None,
    status: StatusOption = None,
    event_type: TypeOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Number of dead letters to show, oldest first.")] = 20,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """List the oldest dead letters. The queue does not change."""
    settings, queue = _queue(context, config, flow)
    selection = selection_of(reason, event_type, since, until, statuses=status)
    found = with_link(settings, lambda link: first(link, queue, selection, limit, form=_listed))
    letters, depth = found.letters, found.total
    if as_json:
        print_json({"flow": queue.flow, "dead_letters": depth, "shown": [summary for summary, _ in letters]})
        return
    shown = table("id", "type", "reason", "status", "attempts", "last failed", "bytes", numbers=("attempts", "bytes"))
    for summary, cause in letters:
        shown.add_row(
            summary["id"],
            summary["type"],
            printable(cause),
            str(summary["last_status"] or "-"),
            str(summary["attempts"]),
            summary["last_failed_at"] or "-",
            str(summary["body_bytes"]),
        )
    if letters:
        out.print(shown)
    out.print(f"{len(letters)} shown of {depth} dead letters of flow {queue.flow}")


def _listed(letter: Browsed) -> tuple[dict[str, Any], str]:
    """Return the summary of a dead letter, and its cause in words."""
    return summary_of(letter), shown_cause(letter)


def _whole(letter: Browsed) -> Browsed:
    return letter


@command(app, "show")
def show_dead_letter(
    context: typer.Context,
    id: Annotated[str, typer.Argument(metavar="ID", help="Id of the event.")],  # noqa: A002 - the argument's name
    flow: OneFlowOption = None,
    full: Annotated[bool, typer.Option("--full", help="Show the whole body, even if it is long.")] = False,
    forwarded: Annotated[
        bool,
        typer.Option("--forwarded", help="Show the values of forwarded headers and the query; they may be secrets."),
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show one dead letter with its headers and body. The queue does not change."""
    settings, queue = _queue(context, config, flow)
    found = with_link(settings, lambda link: first(link, queue, Selection(ids=frozenset({id})), 1, form=_whole))
    if not found.letters:
        raise EventFlowError(_none_has([id], found.total, queue.flow))
    letter = found.letters[0]
    if as_json:
        parts = forwarded_of(letter, with_values=forwarded)
        print_json({**exported(letter, queue.flow), "forwarded": parts, "headers": headers_of(letter)})
        return
    facts = table("", "")
    facts.show_header = False
    for name, value in facts_of(letter):
        facts.add_row(name, printable(value))
    for name, value in _forwarded_lines(letter, with_values=forwarded):
        facts.add_row(name, printable(value))
    for name, value in headers_of(letter).items():
        facts.add_row("header", printable(f"{name}: {value}"))
    out.print(facts)
    out.print()
    out.print(shown_body(letter.envelope.event.body, full=full), soft_wrap=True)


@command(app, "count")
def count_dead_letters(
    context: typer.Context,
    flow: OneFlowOption = None,
    reason: ReasonOption = None,
    status: StatusOption = None,
    event_type: TypeOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Count the dead letters by reason. The queue does not change.

    A reason marked (RabbitMQ) means that the broker itself dead-lettered the event, not a processor.
    """
    settings, queue = _queue(context, config, flow)
    selection = selection_of(reason, event_type, since, until, statuses=status)
    reasons: Counter[str] = Counter()

    async def add(_: Browser, letters: Sequence[Browsed], tally: DeadTally) -> None:
        reasons.update(printable(shown_reason(letter)) for letter in letters)
        tally.done += len(letters)

    with _reported("counted", queue, as_json=as_json, more=lambda: {"reasons": dict(reasons.most_common())}) as tally:
        _browse(settings, queue, selection, add, tally)
        if reasons and not as_json:
            shown = table("reason", "dead letters", numbers=("dead letters",))
            for each, letters in reasons.most_common():
                shown.add_row(each, str(letters))
            out.print(shown)


@command(app, "export")
def export_dead_letters(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write; - is stdout.")] = Path(STANDARD_STREAM),
    flow: OneFlowOption = None,
    reason: ReasonOption = None,
    status: StatusOption = None,
    event_type: TypeOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the number of exported dead letters as JSON.")] = False,
    config: ConfigOption = None,
) -> None:
    """Write dead letters as NDJSON. The queue does not change.

    Each line is one JSON object, oldest first, with the values of forwarded headers. Only you can read the file, and no
    file is overwritten. `dead replay --from FILE` sends the events again, after you have edited them or as they are.
    """
    settings, queue = _queue(context, config, flow)
    selection = selection_of(reason, event_type, since, until, statuses=status)
    console = err if str(file) == STANDARD_STREAM else out
    recorded = _recorded(settings, "export", queue, in_words(selection))
    with (
        _reported("exported", queue, as_json=as_json, console=console, recorded=recorded) as tally,
        writing(file) as sink,
    ):

        async def write(_: Browser, letters: Sequence[Browsed], tally: DeadTally) -> None:
            for letter in letters:
                sink.write(json.dumps(exported(letter, queue.flow)) + "\n")
            tally.done += len(letters)

        _browse(settings, queue, selection, write, tally)


@command(app, "replay")
def replay_dead_letters(
    context: typer.Context,
    ids: IdsArgument = None,
    flow: OneFlowOption = None,
    reason: ReasonOption = None,
    status: StatusOption = None,
    event_type: TypeOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    every: AllOption = False,
    file: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Events in a file of `dead export`, edited or not; - is stdin."),
    ] = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Send dead letters again. Their attempts are counted from zero again.

    Select them by ids, by conditions that all must be met (--reason, --status, --type, --since, --until), by --all, or
    by --from.

    Each dead letter leaves the queue only after the broker has confirmed its copy in the replay lane. If the command
    fails, an event may be sent twice, and none is lost. Run it again to continue.

    With --from, each line of the file is sent, also if its event is no longer a dead letter. All lines are checked
    before the first is sent.
    """
    settings, queue = _queue(context, config, flow)
    conditions = selection_of(reason, event_type, since, until, statuses=status)
    selection = _selection(conditions, ids, every=every, from_file=file is not None)
    done = "would replay" if dry_run else "replayed"
    if file is not None:
        recorded = None if dry_run else _recorded(settings, "replay", queue, "of a file")
        with (
            reading(file, queue.flow) as found,
            _reported(done, queue, as_json=as_json, things="lines", recorded=recorded) as tally,
        ):
            tally.seen = found.lines
            if dry_run:
                tally.done = found.lines
            else:
                with_link(settings, lambda link: replay_file(link, queue, found, tally))
        return
    recorded = None if dry_run else _recorded(settings, "replay", queue, in_words(selection))
    with _reported(done, queue, as_json=as_json, recorded=recorded) as tally:
        if dry_run:
            _browse(settings, queue, selection, count, tally)
        else:
            with shown_progress(queue.name, tally):
                with_link(settings, lambda link: replay(link, queue, selection, tally))
    _require_found(selection, tally, queue)


@command(app, "purge")
def purge_dead_letters(
    context: typer.Context,
    ids: IdsArgument = None,
    flow: OneFlowOption = None,
    reason: ReasonOption = None,
    status: StatusOption = None,
    event_type: TypeOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    every: AllOption = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Delete dead letters permanently, after a confirmation.

    Select them by ids, by conditions that all must be met (--reason, --status, --type, --since, --until), or by --all.
    """
    settings, queue = _queue(context, config, flow)
    selection = _selection(selection_of(reason, event_type, since, until, statuses=status), ids, every=every)
    if not (yes or dry_run):
        require_terminal(or_give="this option, or --dry-run")
    bounds = UNBOUNDED
    if not yes:
        with _reported("would delete", queue, as_json=as_json and dry_run, console=out if dry_run else err) as found:
            _browse(settings, queue, selection, count, found)
        _require_found(selection, found, queue)
        if dry_run or not found.done:
            return
        typer.confirm("Delete them permanently?", abort=True, err=True)
        bounds = Bounds(letters=found.seen)  # those that were confirmed; dead letters that came later are behind them
    recorded = _recorded(settings, "purge", queue, in_words(selection))
    with _reported("deleted", queue, as_json=as_json, recorded=recorded) as tally:
        _browse(settings, queue, selection, delete, tally, bounds=bounds)
    _require_found(selection, tally, queue)


def _forwarded_lines(letter: Browsed, *, with_values: bool) -> Iterator[tuple[str, str]]:
    parts = forwarded_of(letter, with_values=with_values)
    if parts is not None:
        yield from (("forwarded", f"{name}: {value}") for name, value in parts["headers"].items())
        if parts["query"]:
            yield "forwarded query", parts["query"]
        if parts["left_out"]:
            yield "not forwarded", f"{parts['left_out']} parts, because they are too large"


def _queue(context: typer.Context, config: Path | None, flow: str | None) -> tuple[Settings, DeadQueue]:
    settings = settings_of(context, config)
    return settings, DeadQueue.of(settings, one_flow_of(settings, flow))


def _browse(
    settings: Settings,
    queue: DeadQueue,
    selection: Selection,
    action: Action,
    tally: DeadTally,
    *,
    bounds: Bounds = UNBOUNDED,
) -> None:
    with shown_progress(queue.name, tally):
        with_link(settings, lambda link: browse(link, queue, selection, action, tally, bounds=bounds))


def _selection(conditions: Selection, ids: Sequence[str] | None, *, every: bool, from_file: bool = False) -> Selection:
    if bool(ids) + (not conditions.is_everything) + every + from_file != 1:
        raise typer.BadParameter(
            "exactly one of them is expected", param_hint="ids, conditions (--reason, --status, ...), --all or --from"
        )
    return dataclasses.replace(conditions, ids=frozenset(ids or ()))


@contextmanager
def _reported(
    done: str,
    queue: DeadQueue,
    *,
    as_json: bool,
    console: Console = out,
    things: str = "dead letters",
    more: Callable[[], dict[str, Any]] = dict,
    recorded: Callable[[DeadTally], None] | None = None,
) -> Iterator[DeadTally]:
    """Print the number of dead letters that were handled, even if an error ends the command half-way.

    Args:
        done: Their new state, such as `replayed`.
        queue: Their queue.
        as_json: Whether to print a JSON document.
        console: The place to print it.
        things: The things that are counted.
        more: Called for more fields of the document.
        recorded: Puts the action on record, also if only a part of it was done.
    """
    tally = DeadTally()
    try:
        yield tally
    except BaseException:
        if tally.done:
            err.print(f"{done} {tally.done} {things} of flow {queue.flow}, then failed")
            if recorded is not None:
                recorded(tally)
        raise
    if as_json:
        document = {"flow": queue.flow, done.replace(" ", "_"): tally.done, "of": tally.seen, **more()}
        print_json(document, console)
    else:
        console.print(f"{done} {tally.done} of {tally.seen} {things} of flow {queue.flow}")
    if recorded is not None and tally.done:
        recorded(tally)


def _recorded(settings: Settings, kind: str, queue: DeadQueue, selected: str) -> Callable[[DeadTally], None]:
    """Return a function that puts an action on dead letters on record."""

    def put(tally: DeadTally) -> None:
        events = f"{tally.done} event{'' if tally.done == 1 else 's'}"
        record(settings, kind, flow=queue.flow, detail=f"{events} ({selected})")

    return put


def _require_found(selection: Selection, tally: DeadTally, queue: DeadQueue) -> None:
    if missing := sorted(selection.ids - tally.found_ids):
        raise EventFlowError(_none_has(missing, tally.seen, queue.flow))


def _none_has(ids: Sequence[str], depth: int, flow: str) -> str:
    return f"none of the {depth} dead letters of flow {flow} has the id {printable(' or '.join(ids))}"
