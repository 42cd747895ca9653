"""The circuit breaker: an outage of the target is not the fault of the events. Pure; the caller brings the clock.

It opens on at least 5 failures in a row of at least 3 different events, without a success between, for reasons that
concern the whole target. So a poison event alone, however often it fails, never opens it. While it is open one
processor of the flow probes with one event at a time, after growing pauses.
"""

import math
from dataclasses import dataclass, field

OPENING_FAILURES = 5
OPENING_EVENTS = 3
PROBE_PAUSE_MIN_S = 1.0
PROBE_PAUSE_MAX_S = 60.0
PROBER_SILENT_S = 5.0
"""A prober that has not been heard of for so long is gone, and whoever notices probes instead."""

TARGET_WIDE_REASONS = frozenset({"connection", "timeout", "server_error"})


@dataclass(slots=True, kw_only=True)
class Breaker:
    """The breaker of one flow in one processor, called `instance`."""

    instance: str
    prober: str | None = None
    _failures: int = 0
    _events: set[str] = field(default_factory=set)
    _pause_s: float = PROBE_PAUSE_MIN_S
    _probe_at_s: float = math.inf
    _heard_at_s: float = -math.inf

    @property
    def is_open(self) -> bool:
        """Whether the target is taken to be down."""
        return self.prober is not None

    @property
    def is_prober(self) -> bool:
        """Whether it is on us to probe."""
        return self.prober == self.instance

    def close(self) -> None:
        """Note that the target is up: an attempt succeeded, or a peer says so."""
        self.prober = None
        self._failures = 0
        self._events.clear()

    def failed(self, event_id: str, reason: str, *, now_s: float) -> None:
        """Note a failed attempt while closed, which may open it. Reasons of the event's own change nothing."""
        if self.is_open or reason not in TARGET_WIDE_REASONS:
            return
        self._failures += 1
        if len(self._events) < OPENING_EVENTS:
            self._events.add(event_id)
        if self._failures >= OPENING_FAILURES and len(self._events) == OPENING_EVENTS:
            self._probe_from(now_s)

    def probe_failed(self, *, now_s: float) -> None:
        """Note that our probe failed: the next follows after twice the pause."""
        self._pause_s = min(PROBE_PAUSE_MAX_S, self._pause_s * 2)
        self._probe_at_s = now_s + self._pause_s

    def heard_open(self, prober: str, *, now_s: float) -> None:
        """Note that a peer says it is open and probes. Of two probers the first by name goes on."""
        if self.is_prober and self.instance < prober:
            return
        self.prober = prober
        self._heard_at_s = now_s

    def probe_in_s(self, *, now_s: float) -> float:
        """Return the seconds until an attempt may start here: 0 when closed; as prober, until the next probe.

        Taking over from a silent prober happens here.
        """
        if not self.is_open:
            return 0.0
        if not self.is_prober:
            silent_s = now_s - self._heard_at_s
            if silent_s < PROBER_SILENT_S:
                return PROBER_SILENT_S - silent_s
            self._probe_from(now_s)
        return max(0.0, self._probe_at_s - now_s)

    def _probe_from(self, now_s: float) -> None:
        self.prober = self.instance
        self._pause_s = PROBE_PAUSE_MIN_S
        self._probe_at_s = now_s + self._pause_s
