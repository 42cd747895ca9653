"""Circuit breaker: an outage of the target must not count against the events. Pure; the caller passes the time.

It opens for one of two causes, and only if no attempt succeeds in between:

* `DOWN`: at least 5 failures in a row of at least 3 different events, for reasons that concern the whole target.
  Failures that the application has most likely not seen (no connection, no byte of an answer, 502, 503, 504) open it
  after 60 s too, even if all are of one event: a quiet flow has no other.
* `BLOCKED`: at least 3 different events in a row were refused with the same status, one that concerns the sender, such
  as 401. The target is up and refuses every event.

So a poison event alone never opens it while others succeed, however often it fails. While the breaker is open, one
processor of the flow, the *prober*, sends one event at a time, after growing pauses.
"""

import math
from dataclasses import dataclass, field

from eventflow.control.messages import Cause
from eventflow_processor.target.result import Failed

OPENING_FAILURES = 5
OPENING_EVENTS = 3
OUTAGE_S = 60.0
PROBE_PAUSE_MIN_S = 1.0
PROBE_PAUSE_MAX_S = 60.0
PROBER_SILENT_S = 5.0
"""A prober without a broadcast for this time is considered gone, and the next processor with an event probes instead.
It broadcasts every second, so five lost broadcasts in a row are no coincidence."""

TARGET_WIDE_REASONS = frozenset({"connection", "timeout", "server_error"})

REFUSING_STATUSES = frozenset({401, 402, 403, 407, 423})
"""Statuses about the sender and its account, not about the event: credentials, payment, a locked shop. Any other 4xx is
an answer to one event, so several in a row can be the fault of the events."""

GATEWAY_STATUSES = frozenset({502, 503, 504})
"""Answers of a proxy in front of the application."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A failure that concerns the target as a whole.

    Attributes:
        is_unanswered: The application has most likely not seen the request.
        status: Status of the answer, if the target refuses the sender.
    """

    cause: Cause
    is_unanswered: bool = False
    status: int | None = None


def trouble_of(result: Failed) -> Trouble | None:
    """Return the trouble that a failure shows; None if the failure concerns its event alone."""
    if result.reason in TARGET_WIDE_REASONS:
        return Trouble(cause=Cause.DOWN, is_unanswered=not result.answered or result.status in GATEWAY_STATUSES)
    if result.status in REFUSING_STATUSES:
        return Trouble(cause=Cause.BLOCKED, status=result.status)
    return None


@dataclass(slots=True)
class _Row:
    """Failures in a row, and the first three different events among them."""

    failures: int = 0
    events: set[str] = field(default_factory=set)

    def add(self, event_id: str) -> None:
        self.failures += 1
        if len(self.events) < OPENING_EVENTS:  # more are not needed, and an outage may have millions
            self.events.add(event_id)

    @property
    def is_of_several_events(self) -> bool:
        return len(self.events) == OPENING_EVENTS


@dataclass(slots=True, kw_only=True)
class Breaker:
    """Breaker of one flow in one processor.

    Attributes:
        instance: Name of this processor.
        prober: Name of the processor that probes; None while the breaker is closed.
        cause: The cause for which the breaker is open; None while it is closed.
        status: The status that every event gets, if the cause is `BLOCKED`.
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
    _prober_seen_at_s: float = -math.inf

    @property
    def is_open(self) -> bool:
        """Whether the target is considered down, or refuses every event."""
        return self.prober is not None

    @property
    def has_failures(self) -> bool:
        """Whether failures were noted since it closed, or it is open, so that `close` has something to do."""
        return bool(self.prober or self._failed.failures or self._refused.failures)

    @property
    def is_prober(self) -> bool:
        """Whether this processor probes."""
        return self.prober == self.instance

    def close(self) -> None:
        """Note that the target accepts events: an attempt succeeded, here or at a peer."""
        self.prober = self.cause = self.status = None
        self._failed, self._refused = _Row(), _Row()
        self._unanswered_since_s = math.inf

    def failed(self, event_id: str, trouble: Trouble | None, *, now_s: float) -> bool:
        """Note a failed attempt while the breaker is closed; return whether this opened it."""
        if trouble is None or not trouble.is_unanswered:
            self._unanswered_since_s = math.inf  # the application has answered
        if trouble is None:
            self._refused = _Row()  # the target does not refuse us: this failure concerns its event alone
        elif trouble.cause is Cause.BLOCKED:
            self._note_refusal(event_id, trouble.status, now_s=now_s)
        else:
            self._note_failure(event_id, trouble, now_s=now_s)
        return self.is_open

    def is_ended_by(self, trouble: Trouble | None) -> bool:
        """Whether a failed probe with this `trouble` ends the present cause, because the application answers again."""
        return trouble is None or (self.cause is Cause.DOWN and trouble.cause is Cause.BLOCKED)

    def probe_failed(self, *, now_s: float) -> None:
        """Note that a probe of this processor failed: the pause before the next one is doubled."""
        self._pause_s = min(PROBE_PAUSE_MAX_S, self._pause_s * 2)
        self._probe_at_s = now_s + self._pause_s

    def probe_abandoned(self, *, now_s: float) -> None:
        """Note that a probe of this processor ended without an answer: the next follows after the same pause."""
        self._probe_at_s = now_s + self._pause_s

    def peer_opened(self, prober: str, *, cause: Cause, status: int | None, now_s: float) -> None:
        """Note that a peer has opened the breaker and probes.

        Two processors can open it at the same moment. Each receives the message of the other. The first by name
        continues to probe, so that exactly one of them stops.
        """
        if self.is_prober and self.instance < prober:
            return
        self.prober, self.cause, self.status = prober, cause, status
        self._prober_seen_at_s = now_s

    def probe_in_s(self, *, now_s: float, takes_over: bool) -> float:
        """Return the seconds until an attempt may start here.

        While the breaker is closed, this is 0. For the prober it is the time until its next probe. For a peer it is the
        time until the prober is considered gone.

        Args:
            takes_over: Whether this processor becomes the prober if the present one is gone. Pass True only if there is
                an event to probe with: a prober without one would keep the others from probing.
        """
        if not self.is_open:
            return 0.0
        if not self.is_prober:
            silent_s = now_s - self._prober_seen_at_s
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
        if status != self._refused_status:  # only equal statuses count as a row
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
