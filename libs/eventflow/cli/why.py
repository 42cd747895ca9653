"""`eventflow why`: the state of one event, from the processors, the dead queue and the history."""

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import typer

from eventflow.cli.connection import with_link
from eventflow.cli.console import out, printable
from eventflow.cli.options import ConfigOption, JsonOption, OneFlowOption, one_flow_of, settings_of
from eventflow.event import format_time
from eventflow.operations.causes import cause_in_words
from eventflow.operations.dead.browse import DeadQueue
from eventflow.operations.event_words import sentences_of
from eventflow.operations.events import EventState, document_of, find_event
from eventflow.operations.history.event import EventHistory, find_in_history
from eventflow.operations.history.words import absence_of, attempts_in_words, gap_sentences, sentence_of
from eventflow.operations.session import Link
from eventflow.settings.history import HistorySettings
from eventflow.settings.root import Settings

ATTEMPTS_SHOWN = 10


def why(
    context: typer.Context,
    id: Annotated[str, typer.Argument(metavar="ID", help="Id of the event.")],  # noqa: A002 - the argument's name
    flow: OneFlowOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show the state of one event.

    Each processor knows the events that it holds and the outcome of its latest 10000 attempts. The first 10000 dead
    letters are searched and left in place. If a history is configured, it is searched for attempts in all flows.
    Waiting queues are not searched, so an event that was not attempted yet is reported as unknown. The exit status is
    1 if the event is unknown.
    """
    settings = settings_of(context, config)
    state = state_of(settings, one_flow_of(settings, flow), id)
    if as_json:
        out.print(json.dumps(document_of(state), indent=2), soft_wrap=True)
    else:
        for line in lines_of(state, settings.history):
            out.print(printable(line), soft_wrap=True)
    if not state.is_known:
        sys.exit(1)


def state_of(settings: Settings, flow: str, event_id: str) -> EventState:
    """Connect to the broker and to the history, and search both for an event. Neither search waits for the other.

    Raises:
        BrokerUnavailableError: The broker cannot be used.
    """
    others = [name for name in settings.all_flows if name != flow]
    queue = DeadQueue.of(settings, flow)

    async def search(link: Link) -> EventState:
        state, history = await asyncio.gather(
            find_event(link, queue, event_id, other_flows=others),
            find_in_history(settings.history, event_id, flow=flow),
        )
        return replace(state, history=history)

    return with_link(settings, search)


def lines_of(state: EventState, settings: HistorySettings) -> list[str]:
    """Return the state of the event as lines of text.

    Args:
        state: The state.
        settings: Those of the history.
    """
    lines = [
        f"{processor}: {sentence}"
        for processor, answer in sorted(state.answers.items())
        for sentence in sentences_of(answer)
    ]
    silent = state.processors - len(state.answers)
    if silent > 0:
        lines.append(f"{silent} of {state.processors} processors did not answer")
    letter = state.letter
    if letter is not None:
        lines.append(
            f"dead since {letter['last_failed_at']}, after {letter['attempts']} attempts: {_cause_of(letter)}; "
            "for details: eventflow dead show"
        )
    if state.history is not None:
        lines += _history_lines(state.history, state.flow)
    if not state.is_known:
        searched = None if state.history is None or state.history.unavailable else settings
        lines.append(
            f"unknown in flow {state.flow}: no processor holds or remembers it, "
            + ("" if searched is None else "no attempt is on record, ")
            + f"and it is none of the {state.letters} dead letters that were searched. {absence_of(searched)}"
        )
        if state.other_flows:
            lines.append(f"not searched: {', '.join(f'--flow {name}' for name in state.other_flows)}")
    return lines


def _history_lines(history: EventHistory, flow: str) -> list[str]:
    if history.unavailable is not None:
        return [f"the history was not searched: {history.unavailable}"]
    lines = [
        f"on record: {format_time(attempt.started_at)}, {sentence_of(attempt)}"
        + ("" if attempt.flow == flow else f" (flow {attempt.flow})")
        for attempt in history.attempts[-ATTEMPTS_SHOWN:]
    ]
    if lines:
        lines.append(f"{attempts_in_words(len(history.attempts))} on record; for the answers: eventflow history show")
    return lines + gap_sentences(history.gaps)


def _cause_of(letter: Mapping[str, Any]) -> str:
    return cause_in_words(
        reason=letter["reason"], detail=letter.get("detail"), status=letter.get("last_status"), text=letter.get("text")
    )
