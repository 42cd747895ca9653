"""`eventflow why`: the state of one event, from the processors and from the dead queue."""

import json
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from eventflow.cli.connection import with_link
from eventflow.cli.console import out, printable
from eventflow.cli.options import ConfigOption, JsonOption, OneFlowOption, one_flow_of, settings_of
from eventflow.operations.causes import cause_in_words
from eventflow.operations.dead.browse import DeadQueue
from eventflow.operations.event_words import sentences_of
from eventflow.operations.events import EventState, document_of, find_event
from eventflow.settings.root import Settings


def why(
    context: typer.Context,
    id: Annotated[str, typer.Argument(metavar="ID", help="Id of the event.")],  # noqa: A002 - the argument's name
    flow: OneFlowOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show the state of one event.

    Each processor knows the events that it holds and the outcome of its latest 10000 attempts. The first 10000 dead
    letters are searched and left in place. Waiting queues are not searched, so an event that is still queued is
    reported as unknown. The exit status is 1 if the event is unknown.
    """
    settings = settings_of(context, config)
    state = state_of(settings, one_flow_of(settings, flow), id)
    if as_json:
        out.print(json.dumps(document_of(state), indent=2), soft_wrap=True)
    else:
        for line in lines_of(state):
            out.print(printable(line), soft_wrap=True)
    if not state.is_known:
        sys.exit(1)


def state_of(settings: Settings, flow: str, event_id: str) -> EventState:
    """Connect to the broker, and search a flow for an event.

    Raises:
        BrokerUnavailableError: The broker cannot be used.
    """
    others = [name for name in settings.all_flows if name != flow]
    queue = DeadQueue.of(settings, flow)
    return with_link(settings, lambda link: find_event(link, queue, event_id, other_flows=others))


def lines_of(state: EventState) -> list[str]:
    """Return the state of the event as lines of text."""
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
    if not state.is_known:
        lines.append(
            f"unknown in flow {state.flow}: no processor holds or remembers it, and it is none of the "
            f"{state.letters} dead letters that were searched. It may still wait in a queue, or it never arrived."
        )
        if state.other_flows:
            lines.append(f"not searched: {', '.join(f'--flow {name}' for name in state.other_flows)}")
    return lines


def _cause_of(letter: Mapping[str, Any]) -> str:
    return cause_in_words(
        reason=letter["reason"], detail=letter.get("detail"), status=letter.get("last_status"), text=letter.get("text")
    )
