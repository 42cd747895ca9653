"""`eventflow history list`, `show`, `export` and `actions`: the records."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from eventflow.cli.actions import record
from eventflow.cli.console import err, out, print_json, printable
from eventflow.cli.history.options import (
    AfterOption,
    LimitOption,
    OutcomeOption,
    ReasonOption,
    SinceOption,
    StatusOption,
    TypeOption,
    UntilOption,
    cursor_in,
    filter_of,
)
from eventflow.cli.history.shown import actions_table, attempts_table, timeline_of
from eventflow.cli.history.store import with_history
from eventflow.cli.new_file import STANDARD_STREAM, writing
from eventflow.cli.options import (
    ConfigOption,
    FlowOption,
    JsonOption,
    OneFlowOption,
    flows_of,
    one_flow_of,
    settings_of,
)
from eventflow.errors import EventFlowError
from eventflow.event import utc_now
from eventflow.history.documents import action_document, document_of, gap_document
from eventflow.history.filters import PAGE_MAX, AttemptFilter, Cursor
from eventflow.history.records import Action, AttemptRecord, Gap, from_unix_microseconds
from eventflow.history.store import HistoryStore
from eventflow.operations.history.event import ATTEMPTS_MAX, EventHistory, event_history, history_document
from eventflow.operations.history.session import in_time
from eventflow.operations.history.walk import cursor_of, pages_of
from eventflow.operations.history.words import attempts_in_words, gap_sentences

BEGINNING = from_unix_microseconds(0)


def list_attempts(
    context: typer.Context,
    flow: OneFlowOption = None,
    outcome: OutcomeOption = None,
    reason: ReasonOption = None,
    status: StatusOption = None,
    event_type: TypeOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: LimitOption = 20,
    after: AfterOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """List the attempts of a flow, the newest first.

    All conditions must be met. A reason, a status or a type is searched among failures (`--outcome failures`, or one
    outcome of these), or in a range of at most one day (`--since`, `--until`). `--outcome delivered` needs such a range
    too. So every list is fast.
    """
    settings = settings_of(context, config)
    selection = filter_of(
        one_flow_of(settings, flow),
        outcome=outcome,
        reason=reason,
        status=status,
        event_type=event_type,
        since=since,
        until=until,
    )
    cursor = cursor_in(after)
    attempts, gaps = with_history(settings, lambda store: _page(store, selection, cursor, limit))
    following = cursor_of(attempts[-1]).text if len(attempts) == limit else None
    if as_json:
        print_json(
            {
                "flow": selection.flow,
                "attempts": [document_of(attempt) for attempt in attempts],
                "gaps": [gap_document(gap) for gap in gaps],
                "after": following,
            }
        )
        return
    if attempts:
        out.print(attempts_table(attempts))
    more = "" if following is None else f"; for more: --after {following}"
    out.print(f"{attempts_in_words(len(attempts))} of flow {selection.flow}{more}", soft_wrap=True)
    _print_gaps(gaps)


async def _page(
    store: HistoryStore, selection: AttemptFilter, after: Cursor | None, limit: int
) -> tuple[Sequence[AttemptRecord], Sequence[Gap]]:
    """Return a page of attempts, and the gaps in its time."""
    async with in_time():
        attempts = await store.attempts(selection, after=after, limit=limit)
        is_last = len(attempts) < limit
        since = (selection.since or BEGINNING) if is_last else attempts[-1].started_at
        until = (selection.until or utc_now()) if after is None else after.started_at
        return attempts, await store.gaps(selection.flow, since=since, until=until)


def show_event(
    context: typer.Context,
    id: Annotated[str, typer.Argument(metavar="ID", help="Id of the event.")],  # noqa: A002 - the argument's name
    flow: FlowOption = None,
    full: Annotated[
        bool, typer.Option("--full", help="Show answers as they are kept: JSON indented, other bytes in hex.")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show the attempts of one event with the target's answers, the oldest first.

    The exit status is 1 if no attempt is on record. `eventflow why` also asks the processors, and searches the dead
    letters.
    """
    settings = settings_of(context, config)
    flows = flows_of(settings, flow)
    history = with_history(settings, lambda store: _history(store, id, flow, flows))
    if not history.attempts:
        hints = [*gap_sentences(history.gaps), "`eventflow why` also searches elsewhere"]
        raise EventFlowError(printable(f"no attempt of the event {id} is on record; {'; '.join(hints)}"))
    if as_json:
        print_json({"id": id, **history_document(history)})
        return
    for line in timeline_of(history.attempts, full=full):
        out.print(printable(line), soft_wrap=True)
    if len(history.attempts) == ATTEMPTS_MAX:
        err.print(f"warning: only the first {ATTEMPTS_MAX} attempts are shown", style="yellow")
    _print_gaps(history.gaps)


async def _history(store: HistoryStore, event_id: str, flow: str | None, flows: Sequence[str]) -> EventHistory:
    async with in_time():
        return await event_history(store, event_id, flow=flow, flows=flows)


def export_attempts(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write; - is stdout.")] = Path(STANDARD_STREAM),
    flow: OneFlowOption = None,
    outcome: OutcomeOption = None,
    reason: ReasonOption = None,
    status: StatusOption = None,
    event_type: TypeOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the number of exported attempts as JSON.")] = False,
    config: ConfigOption = None,
) -> None:
    """Write the attempts of a flow as NDJSON, the newest first.

    Each line is one JSON object with the names of the columns. Only you can read the file, and no file is
    overwritten. The conditions are those of `history list`.
    """
    settings = settings_of(context, config)
    selection = filter_of(
        one_flow_of(settings, flow),
        outcome=outcome,
        reason=reason,
        status=status,
        event_type=event_type,
        since=since,
        until=until,
    )
    with writing(file) as sink:

        async def write(store: HistoryStore) -> int:
            attempts = 0
            async for page in pages_of(store, selection):
                sink.writelines(json.dumps(document_of(attempt)) + "\n" for attempt in page)
                attempts += len(page)
            return attempts

        attempts = with_history(settings, write)
    record(settings, "export", flow=selection.flow, detail=f"history: {attempts_in_words(attempts)}")
    console = err if str(file) == STANDARD_STREAM else out
    if as_json:
        print_json({"flow": selection.flow, "exported": attempts}, console)
    else:
        console.print(f"exported {attempts_in_words(attempts)} of flow {selection.flow}")


def list_actions(
    context: typer.Context,
    flow: FlowOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=PAGE_MAX, help="Number of actions, newest first.")] = 20,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """List the actions of operators, the newest first: pauses, rates, replays, exports and deletions."""
    settings = settings_of(context, config)
    if flow is not None:
        flows_of(settings, flow)
    actions = with_history(settings, lambda store: _actions(store, flow, limit))
    if as_json:
        print_json({"actions": [action_document(action) for action in actions]})
    elif actions:
        out.print(actions_table(actions))
    else:
        out.print("no action is on record")


async def _actions(store: HistoryStore, flow: str | None, limit: int) -> Sequence[Action]:
    async with in_time():
        return await store.actions(flow=flow, limit=limit)


def _print_gaps(gaps: Sequence[Gap]) -> None:
    for sentence in gap_sentences(gaps):
        err.print(f"warning: {printable(sentence)}", style="yellow", soft_wrap=True)
