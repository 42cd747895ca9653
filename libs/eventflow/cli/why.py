"""`eventflow why`: the state of one event, from the processors and from the dead queue.

The events, due and retry queues are never read, because a reader would count as a processor.
"""

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Annotated, Any, assert_never

import typer

from eventflow.amqp.queues import depth_of
from eventflow.cli.causes import cause_in_words
from eventflow.cli.console import out, printable
from eventflow.cli.dead.browse import DeadQueue, first
from eventflow.cli.dead.dead_letters import Selection, record_of
from eventflow.cli.options import ConfigOption, JsonOption, OneFlowOption, one_flow_of, settings_of
from eventflow.cli.session import Link, connected, instance, publishing
from eventflow.control.bus import ControlBus
from eventflow.control.messages import (
    AskStatus,
    BreakerClosed,
    BreakerOpened,
    Broadcast,
    InHand,
    Known,
    LastAttempt,
    Pause,
    RateReduced,
    Why,
    facts_of,
)
from eventflow.control.reports import CollectorReport, ProcessorReport
from eventflow.tasks import cancel_and_wait
from eventflow.topology import CONTROL_EXCHANGE, Lane, lane_queue

ASK_EVERY_S = 0.25
ANSWERS_MAX_S = 3.0
LETTERS_MAX = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EventState:
    """The known state of an event.

    Attributes:
        answers: The answer of each processor, by its name.
        processors: Number of processors; some may be too busy or too old to answer.
        letter: The event as `dead export` writes it, if it is among the dead letters that were searched.
        letters: Number of dead letters that were searched.
        other_flows: The flows that were not searched.
    """

    event_id: str
    flow: str
    other_flows: Sequence[str]
    answers: Mapping[str, Known]
    processors: int
    letter: Mapping[str, Any] | None
    letters: int

    @property
    def is_known(self) -> bool:
        """Whether the event was found anywhere."""
        return self.letter is not None or any(known.last or known.in_hand for known in self.answers.values())


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
    queue = DeadQueue(settings=settings, flow=one_flow_of(settings, flow))
    state = asyncio.run(find_event(queue, id))
    if as_json:
        out.print(json.dumps(document_of(state), indent=2), soft_wrap=True)
    else:
        for line in lines_of(state):
            out.print(printable(line), soft_wrap=True)
    if not state.is_known:
        sys.exit(1)


async def find_event(queue: DeadQueue, event_id: str) -> EventState:
    """Search the processors and the dead letters for an event."""
    async with connected(queue.urls) as link:
        depth = await depth_of(link.connection, lane_queue(queue.flow, Lane.LIVE))
        processors = depth.consumers if depth else 0
        answers = await _ask(link, queue.flow, event_id, processors) if processors else {}
    letters, looked_at = await first(queue, Selection(ids=frozenset({event_id})), 1, at_most=LETTERS_MAX)
    return EventState(
        event_id=event_id,
        flow=queue.flow,
        other_flows=[name for name in queue.settings.all_flows if name != queue.flow],
        answers=answers,
        processors=processors,
        letter=record_of(letters[0]) if letters else None,
        letters=looked_at,
    )


async def _ask(link: Link, flow: str, event_id: str, processors: int) -> dict[str, Known]:
    """Ask the flow's processors until all have answered, or the time is up."""
    answers: dict[str, Known] = {}
    complete = asyncio.Event()

    def on_peer_message(received: Broadcast) -> None:
        match received.message:
            case Known() as known:
                if known.event_id == event_id:  # another operator may ask at the same time
                    answers[received.sender] = known
                    if len(answers) >= processors:
                        complete.set()
            case Pause() | BreakerOpened() | BreakerClosed() | RateReduced() | Why():
                pass
            case AskStatus() | ProcessorReport() | CollectorReport():
                pass
            case _:
                assert_never(received.message)

    async with publishing(link, (), fanouts=(CONTROL_EXCHANGE,)) as publisher:
        control = ControlBus([link.url], instance=instance(), publisher=publisher)
        control.on_peer_message(flow, on_peer_message)
        receiving = asyncio.create_task(control.run())
        try:
            # Repeated: an answer that comes before the bus has its queue is lost, and the broker gives no notice of it.
            for _ in range(round(ANSWERS_MAX_S / ASK_EVERY_S)):
                control.broadcast(flow, Why(event_id=event_id))
                with suppress(TimeoutError):
                    async with asyncio.timeout(ASK_EVERY_S):
                        await complete.wait()
                        break
        finally:
            await cancel_and_wait(receiving)
    return answers


def document_of(state: EventState) -> dict[str, Any]:
    """Return the document of `--json`."""
    return {
        "id": state.event_id,
        "flow": state.flow,
        "processors": {
            "all": state.processors,
            "answers": {processor: facts_of(known) for processor, known in state.answers.items()},
        },
        "dead": {"looked_at": state.letters, "letter": state.letter},
    }


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


def sentences_of(known: Known) -> list[str]:
    """Describe the answer of one processor in sentences, the present first."""
    return ([_present(known.in_hand)] if known.in_hand else []) + ([_past(known.last)] if known.last else [])


def _present(delivery: InHand) -> str:
    present = {
        "in_flight": "in flight now",
        "held": "held in memory, because the target asked to wait",
        "waiting": "waits for its turn",
    }.get(delivery.state, delivery.state)  # a later version may have more states
    return f"{present}: attempt {delivery.attempt}, lane {delivery.lane}, here for {_seconds(delivery.here_s)}"


def _past(last: LastAttempt) -> str:
    became = {
        "delivered": "was delivered",
        "retry": f"failed and waits for {_seconds(last.delay_s)} from then on",
        "defer": f"did not count and waits for {_seconds(last.delay_s)} from then on",
        "hold": "did not count, because the target asked to wait",
        "dead": "failed and was the last attempt",
    }.get(last.outcome, "ended")  # a later version may have more outcomes
    cause = "" if last.failure is None else f": {cause_in_words(**asdict(last.failure))}"
    return f"attempt {last.attempt}, {_seconds(last.ago_s)} ago, {became}{cause}"


def _seconds(value: float | None) -> str:
    return "? s" if value is None else f"{value:.3g} s"


def _cause_of(letter: Mapping[str, Any]) -> str:
    return cause_in_words(
        reason=letter["reason"], detail=letter.get("detail"), status=letter.get("last_status"), text=letter.get("text")
    )
