"""What this processor knows of single events of a flow, for an operator who asks (`eventflow why`)."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from eventflow.control.bus import Announcement
from eventflow.delivery import Delivery
from eventflow.message import Envelope
from eventflow.outcome import DeadLetter, Defer, Delivered, Hold, Outcome, Retry
from eventflow_processor.attempt import Attempted
from eventflow_processor.lanes import Lanes
from eventflow_processor.observe.observer import Observer

REMEMBERED_MAX = 10_000
"""Outcomes that are remembered, the latest: some megabytes."""


@dataclass(frozen=True, slots=True)
class _Past:
    """What became of an attempt, and when by the monotonic clock."""

    facts: dict[str, Any]
    at_s: float


class RecentEvents(Observer):
    """Keeps track of one flow's events in this processor: those in hand, and what became of the latest attempts."""

    def __init__(self, lanes: Lanes, *, broadcast: Callable[[Announcement], None]) -> None:
        """Wire; `announce` tells whoever asked."""
        self._lanes = lanes
        self._broadcast = broadcast
        self.find_in_flight: Callable[[str], Delivery | None] = lambda _: None
        self._past: OrderedDict[str, _Past] = OrderedDict()

    def remember(self, envelope: Envelope, outcome: Outcome) -> None:
        """Remember what became of an attempt."""
        event_id = envelope.event.id
        self._past.pop(event_id, None)
        self._past[event_id] = _Past(_facts_of(envelope, outcome), time.monotonic())
        if len(self._past) > REMEMBERED_MAX:
            self._past.popitem(last=False)

    @override
    def attempted(self, attempted: Attempted) -> None:
        if attempted.outcome is not None:
            self.remember(attempted.envelope, attempted.outcome)

    def on_peer_message(self, announcement: Announcement) -> None:
        """Answer an operator who asks for an event; whoever knows nothing says so."""
        match announcement:
            case {"kind": "why", "id": str() as event_id}:
                self._broadcast({"kind": "known", "id": event_id, **self.of(event_id)})

    def of(self, event_id: str) -> dict[str, Any]:
        """Say what is known of an event; nothing for one that is not known."""
        now_s = time.monotonic()
        past = self._past.get(event_id)
        known: dict[str, Any] = {} if past is None else {**past.facts, "ago_s": round(now_s - past.at_s, 3)}
        if (delivery := self.find_in_flight(event_id)) is not None:
            return {"last": known, "state": "in_flight", **_here(delivery, now_s)}
        if (delivery := self._lanes.find(event_id)) is not None:
            state = "held" if delivery.attempts_here else "waiting"
            return {"last": known, "state": state, **_here(delivery, now_s)}
        return {"last": known, "state": "past"} if known else {}


def _here(delivery: Delivery, now_s: float) -> dict[str, Any]:
    return {
        "lane": delivery.lane.value,
        "attempt": delivery.envelope.attempt,
        "here_s": round(now_s - delivery.received_s, 3),
    }


def _facts_of(envelope: Envelope, outcome: Outcome) -> dict[str, Any]:
    match outcome:
        case Delivered():
            return {"outcome": "delivered", "attempt": envelope.attempt}
        case Retry(envelope=copy, delay_s=delay_s):
            return {"outcome": "retry", "attempt": envelope.attempt, "delay_s": delay_s, **_failure_of(copy)}
        case Defer(delay_s=delay_s):
            return {"outcome": "defer", "attempt": envelope.attempt, "delay_s": delay_s}
        case Hold():
            return {"outcome": "hold", "attempt": envelope.attempt}
        case DeadLetter(envelope=copy):
            return {"outcome": "dead", "attempt": envelope.attempt, **_failure_of(copy)}


def _failure_of(envelope: Envelope) -> dict[str, Any]:
    return {} if envelope.failure is None else envelope.failure.cause
