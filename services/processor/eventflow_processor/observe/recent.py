"""Memory of a flow's recent events, from which `eventflow why` is answered."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import assert_never

from typing_extensions import override

from eventflow.control.messages import Broadcast, ControlMessage, InHand, Known, LastAttempt, Why
from eventflow.control.reports import FailureCause
from eventflow.delivery import Delivery
from eventflow.message import Failure
from eventflow.outcome import DeadLetter, Defer, Delivered, Hold, Retry, Word
from eventflow_processor.attempt import Attempted
from eventflow_processor.lanes import Lanes
from eventflow_processor.observe.observer import Observer
from eventflow_processor.target.result import Failed, Result

REMEMBERED_MAX = 10_000
"""Number of latest attempts that are remembered; they take some megabytes."""

_Past = tuple[Word, int, float | None, FailureCause | None, float]
"""Outcome, attempt, delay and failure of a latest attempt, and its end by the monotonic clock. A plain tuple, because
each event makes one, and hardly any is asked for."""


class RecentEvents(Observer):
    """The events of one flow that this processor holds, and its latest attempts."""

    def __init__(self, lanes: Lanes, *, broadcast: Callable[[ControlMessage], None]) -> None:
        """Answer over `broadcast`; `lanes` has the events that wait."""
        self._lanes = lanes
        self._broadcast = broadcast
        self.find_in_flight: Callable[[str], Delivery | None] = lambda _: None  # set once there is a dispatcher
        self._past: OrderedDict[str, _Past] = OrderedDict()

    @override
    def attempted(self, attempted: Attempted) -> None:
        envelope, outcome = attempted.delivery.envelope, attempted.outcome
        if outcome is None:
            return  # not settled, so it is delivered again
        event_id = envelope.event.id
        self._past.pop(event_id, None)  # so that the new entry is the last one
        # Without the envelope: it contains the body, and 10 000 bodies would take gigabytes.
        self._past[event_id] = outcome.word, envelope.attempt, *_consequence_of(attempted), time.monotonic()
        if len(self._past) > REMEMBERED_MAX:
            self._past.popitem(last=False)

    def on_peer_message(self, received: Broadcast) -> None:
        """Answer `eventflow why`, even if the event is unknown here, because the command waits for every processor."""
        if isinstance(received.message, Why):
            self._broadcast(self.known(received.message.event_id))

    def known(self, event_id: str) -> Known:
        """Return the state of an event in this processor."""
        now_s = time.monotonic()
        last = None
        if (past := self._past.get(event_id)) is not None:
            word, attempt, delay_s, failure, ended_s = past
            last = LastAttempt(
                outcome=word,
                attempt=attempt,
                ago_s=round(now_s - ended_s, 3),
                delay_s=delay_s,
                failure=failure,
            )
        return Known(event_id=event_id, last=last, in_hand=self._in_hand(event_id, now_s))

    def _in_hand(self, event_id: str, now_s: float) -> InHand | None:
        if (delivery := self.find_in_flight(event_id)) is not None:
            state = "in_flight"
        elif (delivery := self._lanes.find(event_id)) is not None:
            state = "held" if delivery.attempts_here else "waiting"
        else:
            return None
        return InHand(
            state=state,
            lane=delivery.lane.value,
            attempt=delivery.envelope.attempt,
            here_s=round(now_s - delivery.received_s, 3),
        )


def _consequence_of(attempted: Attempted) -> tuple[float | None, FailureCause | None]:
    """Return the delay until the next attempt, and the cause of the failure, also of one that does not count."""
    match attempted.outcome:
        case Delivered() | None:
            return None, None
        case Hold():
            return None, _cause_of(attempted.result)
        case Defer(delay_s=delay_s):
            return delay_s, _cause_of(attempted.result)
        case Retry(envelope=copy, delay_s=delay_s):
            return delay_s, _cause_of(copy.failure)
        case DeadLetter(envelope=copy):
            return None, _cause_of(copy.failure)
        case _:
            assert_never(attempted.outcome)


def _cause_of(failure: Failure | Result | None) -> FailureCause | None:
    if not isinstance(failure, Failure | Failed):
        return None
    return FailureCause(reason=failure.reason, status=failure.status, detail=failure.detail, text=failure.text)
