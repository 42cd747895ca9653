"""The circuit breaker: an outage of the target is not the fault of the events. Pure; the caller brings the clock.

It opens for one of two causes, and only while no attempt succeeds:

* `DOWN`: at least 5 failures in a row of at least 3 different events, for reasons that concern the whole target.
  Failures of a kind that the application never sees (no connection, no byte of an answer, 502, 503, 504) open it after
  60 s too, even if they are all of one event: in a quiet flow there is no other.
* `BLOCKED`: at least 3 different events in a row were refused with one and the same status that is about the sender,
  such as 401. The target is up, and takes nothing from anybody.

So a poison event alone, however often it fails, never opens it beside others that succeed. While it is open one
processor of the flow probes with one event at a time, after growing pauses.
"""

import math
from dataclasses import dataclass, field
from enum import StrEnum

from eventflow_processor.target.result import Failed

OPENING_FAILURES = 5
OPENING_EVENTS = 3
OUTAGE_S = 60.0
PROBE_PAUSE_MIN_S = 1.0
PROBE_PAUSE_MAX_S = 60.0
PROBER_SILENT_S = 5.0
"""A prober that has not been heard of for so long is gone, and whoever notices probes instead."""

TARGET_WIDE_REASONS = frozenset({"connection", "timeout", "server_error"})

REFUSING_STATUSES = frozenset({401, 402, 403, 407, 423})
"""Statuses about the sender and its account, not about the event: credentials, payment, a locked shop. Others of 4xx
are answers to an event, so any number of them in a row can be the events' own fault."""

GATEWAY_STATUSES = frozenset({502, 503, 504})
"""Answers of what stands in front of the application."""


class Cause(StrEnum):
    """Why a breaker is open."""

    DOWN = "down"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What a failure says about the target as a whole.

    Attributes:
        is_unanswered: The application has most likely not seen the request.
        status: Of the answer; None without one.
    """

    cause: Cause
    is_unanswered: bool = False
    status: int | None = None


def trouble_of(result: Failed) -> Trouble | None:
    """Return what a failure says about the target; None if it is the event's own."""
    if result.reason in TARGET_WIDE_REASONS:
        return Trouble(cause=Cause.DOWN, is_unanswered=not result.answered or result.status in GATEWAY_STATUSES)
    if result.status in REFUSING_STATUSES:
        return Trouble(cause=Cause.BLOCKED, status=result.status)
    return None


@dataclass(slots=True)
class _Row:
    """Failures in a row, and the first different events among them."""

    failures: int = 0
    events: set[str] = field(default_factory=set)

    def add(self, event_id: str) -> None:
        self.failures += 1
        if len(self.events) < OPENING_EVENTS:
            self.events.add(event_id)

    @property
    def is_of_several_events(self) -> bool:
        return len(self.events) == OPENING_EVENTS


@dataclass(slots=True, kw_only=True)
class Breaker:
    """The breaker of one flow in one processor, called `instance`.

    Attributes:
        cause: Why it is open; None while it is closed.
        status: The status that everybody gets, if it is open for `BLOCKED`.
    """

    instance: str
    prober: str | None = None
    cause: Cause | None = None
    status: int | None = None
    _failed: _Row = field(default_factory=_Row)
    _refused: _Row = field(default_factory=_Row)
    _refused_status: int | None = None
    _unanswered_since_s: float = math.inf
    _pause_s: float = PROBE_PAUSE_MIN_S
    _probe_at_s: float = math.inf
    _heard_at_s: float = -math.inf

    @property
    def is_open(self) -> bool:
        """Whether the target is taken to be down, or to refuse everybody."""
        return self.prober is not None

    @property
    def is_prober(self) -> bool:
        """Whether it is on us to probe."""
        return self.prober == self.instance

    def close(self) -> None:
        """Note that the target takes events: an attempt succeeded, or a peer says so."""
        self.prober = self.cause = self.status = None
        if self._failed.failures or self._refused.failures:  # at every success: most find nothing to forget
            self._failed, self._refused = _Row(), _Row()
        self._unanswered_since_s = math.inf

    def failed(self, event_id: str, trouble: Trouble | None, *, now_s: float) -> None:
        """Note a failed attempt while closed, which may open it."""
        if self.is_open:
            return
        if trouble is None or not trouble.is_unanswered:
            self._unanswered_since_s = math.inf  # the application has answered
        if trouble is None:
            self._refused = _Row()  # and lets us in
        elif trouble.cause is Cause.BLOCKED:
            self._note_refusal(event_id, trouble.status, now_s=now_s)
        else:
            self._note_failure(event_id, trouble, now_s=now_s)

    def is_end(self, trouble: Trouble | None) -> bool:
        """Whether a probe that failed of `trouble` ends what the breaker is open for: the target answers for itself."""
        return trouble is None or (self.cause is Cause.DOWN and trouble.cause is Cause.BLOCKED)

    def probe_failed(self, *, now_s: float) -> None:
        """Note that our probe failed: the next follows after twice the pause."""
        self._pause_s = min(PROBE_PAUSE_MAX_S, self._pause_s * 2)
        self._probe_at_s = now_s + self._pause_s

    def probe_abandoned(self, *, now_s: float) -> None:
        """Note that our probe ended without an answer, of an error of ours: the next follows after the same pause."""
        self._probe_at_s = now_s + self._pause_s

    def heard_open(self, prober: str, *, cause: Cause, status: int | None, now_s: float) -> None:
        """Note that a peer says it is open and probes. Of two probers the first by name goes on."""
        if self.is_prober and self.instance < prober:
            return
        self.prober, self.cause, self.status = prober, cause, status
        self._heard_at_s = now_s

    def probe_in_s(self, *, now_s: float, takes_over: bool) -> float:
        """Return the seconds until an attempt may start here: 0 when closed; as prober, until the next probe.

        Args:
            takes_over: Whether to become the prober if the present one is silent. Only a processor that has an event to
                probe with does.
        """
        if not self.is_open:
            return 0.0
        if not self.is_prober:
            silent_s = now_s - self._heard_at_s
            if silent_s < PROBER_SILENT_S:
                return PROBER_SILENT_S - silent_s
            if not takes_over:
                return 0.0
            self._probe_from(now_s)
        return max(0.0, self._probe_at_s - now_s)

    def _note_failure(self, event_id: str, trouble: Trouble, *, now_s: float) -> None:
        self._failed.add(event_id)
        if trouble.is_unanswered:
            self._unanswered_since_s = min(self._unanswered_since_s, now_s)
        is_long = now_s - self._unanswered_since_s >= OUTAGE_S
        if is_long or (self._failed.failures >= OPENING_FAILURES and self._failed.is_of_several_events):
            self._open(Cause.DOWN, None, now_s=now_s)

    def _note_refusal(self, event_id: str, status: int | None, *, now_s: float) -> None:
        if status != self._refused_status:
            self._refused, self._refused_status = _Row(), status
        self._refused.add(event_id)
        if self._refused.is_of_several_events:
            self._open(Cause.BLOCKED, status, now_s=now_s)

    def _open(self, cause: Cause, status: int | None, *, now_s: float) -> None:
        self.cause, self.status = cause, status
        self._probe_from(now_s)

    def _probe_from(self, now_s: float) -> None:
        self.prober = self.instance
        self._pause_s = PROBE_PAUSE_MIN_S
        self._probe_at_s = now_s + self._pause_s
