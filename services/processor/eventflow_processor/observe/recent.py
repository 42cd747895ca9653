"""Memory of recent events of a flow, for the questions of `eventflow why`."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import assert_never

from typing_extensions import override

from eventflow.control.messages import (
    BreakerClosed,
    BreakerOpened,
    Broadcast,
    ControlMessage,
    FailureCause,
    InHand,
    Known,
    LastAttempt,
    Pause,
    RateReduced,
    Why,
)
from eventflow.delivery import Delivery
from eventflow.message import Envelope
from eventflow.outcome import DeadLetter, Defer, Delivered, Hold, Outcome, Retry
from eventflow_processor.attempt import Attempted
from eventflow_processor.lanes import Lanes
from eventflow_processor.observe.observer import Observer

REMEMBERED_MAX = 10_000
"""Attempts that are remembered, the latest: some megabytes."""


class RecentEvents(Observer):
    """The events of one flow that this processor holds, and its latest attempts."""

    def __init__(self, lanes: Lanes, *, broadcast: Callable[[ControlMessage], None]) -> None:
        """Answer over `broadcast`; `lanes` has the events that wait."""
        self._lanes = lanes
        self._broadcast = broadcast
        self._in_flight: dict[str, Delivery] = {}
        self._past: OrderedDict[str, tuple[LastAttempt, float]] = OrderedDict()  # with the time of its end

    def begin(self, delivery: Delivery) -> None:
        """Keep a delivery as in flight until `end`."""
        self._in_flight[delivery.envelope.event.id] = delivery

    def end(self, delivery: Delivery) -> None:
        """Keep it as in flight no more. Of two copies of an event in flight, the first to end removes both."""
        self._in_flight.pop(delivery.envelope.event.id, None)

    def remember(self, envelope: Envelope, outcome: Outcome) -> None:
        """Remember the outcome of an attempt, without the event itself: its body can be large."""
        event_id = envelope.event.id
        self._past.pop(event_id, None)  # so that it becomes the latest
        self._past[event_id] = _last_attempt(envelope.attempt, outcome), time.monotonic()
        if len(self._past) > REMEMBERED_MAX:
            self._past.popitem(last=False)

    @override
    def attempted(self, attempted: Attempted) -> None:
        if attempted.outcome is not None:
            self.remember(attempted.envelope, attempted.outcome)

    def on_peer_message(self, received: Broadcast) -> None:
        """Answer a question of `eventflow why`, also for an unknown event: the command waits for every processor."""
        match received.message:
            case Why(event_id=event_id):
                self._broadcast(self.known(event_id))
            case Pause() | BreakerOpened() | BreakerClosed() | RateReduced() | Known():
                pass
            case _:
                assert_never(received.message)

    def known(self, event_id: str) -> Known:
        """Return the state of an event, as far as it is known here."""
        now_s = time.monotonic()
        last = None
        if (past := self._past.get(event_id)) is not None:
            attempt, ended_s = past
            last = replace(attempt, ago_s=round(now_s - ended_s, 3))
        return Known(event_id=event_id, last=last, in_hand=self._in_hand(event_id, now_s))

    def _in_hand(self, event_id: str, now_s: float) -> InHand | None:
        if (delivery := self._in_flight.get(event_id)) is not None:
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


def _last_attempt(attempt: int, outcome: Outcome) -> LastAttempt:
    """Describe an attempt that ends now."""
    match outcome:
        case Delivered():
            return LastAttempt(outcome="delivered", attempt=attempt, ago_s=0.0)
        case Retry(envelope=copy, delay_s=delay_s):
            return LastAttempt(outcome="retry", attempt=attempt, ago_s=0.0, delay_s=delay_s, failure=_cause_of(copy))
        case Defer(delay_s=delay_s):
            return LastAttempt(outcome="defer", attempt=attempt, ago_s=0.0, delay_s=delay_s)
        case Hold():
            return LastAttempt(outcome="hold", attempt=attempt, ago_s=0.0)
        case DeadLetter(envelope=copy):
            return LastAttempt(outcome="dead", attempt=attempt, ago_s=0.0, failure=_cause_of(copy))
        case _:
            assert_never(outcome)


def _cause_of(envelope: Envelope) -> FailureCause | None:
    failure = envelope.failure
    if failure is None:
        return None
    return FailureCause(reason=failure.reason, status=failure.status, detail=failure.detail)
