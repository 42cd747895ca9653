"""When the next attempt of a flow may start: not while an operator has paused the flow or the target asked for a pause,
not while the target is down.

What is decided here is told to the flow's other processors, and what they tell is heeded.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from enum import Enum, auto

import structlog

from eventflow.control import Announcement
from eventflow.runtime import RuntimeSettings
from processor.breaker import TARGET_WIDE_REASONS, Breaker
from processor.target import Failed, Result, Succeeded

DEFERRALS_MAX = 3
DEFERRED_IDS_MAX = 10_000
UNSTATED_PAUSE_S = 1.0
"""The pause after a 429 that does not say how long."""

PAUSE_MIN_S = 0.1
"""`Retry-After: 0` must not make a loop of a target that means it and one that never lets anybody through."""

log = structlog.stdlib.get_logger()


class Pass(Enum):
    """What an attempt is let through as."""

    ATTEMPT = auto()
    PROBE = auto()


class Verdict(Enum):
    """How a result counts for its event."""

    COUNTS = auto()
    DEFER = auto()
    """The target asked to wait: the event keeps its attempt, in memory while the pause is short."""
    UNCOUNTED = auto()
    """The target is down: the event goes to a delay queue and keeps its attempt."""


class Gate:
    """Lets attempts through, one caller at a time."""

    def __init__(
        self,
        *,
        flow: str,
        instance: str,
        max_retry_after_s: float,
        announce: Callable[[Announcement], None],
        on_breaker: Callable[[bool], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start open.

        Args:
            max_retry_after_s: The longest pause that an answer can impose.
            announce: Tells the flow's other processors.
            on_breaker: Told when the breaker opens (True) or closes (False).
        """
        self._breaker = Breaker(instance=instance)
        self._max_retry_after_s = max_retry_after_s
        self._announce = announce
        self._on_breaker = on_breaker
        self._clock = clock
        self._changed = asyncio.Event()
        self._resume_at_s = 0.0
        self._is_paused: bool | None = None  # by an operator; None until that is known
        self._is_control_lost = False
        self._probing = False
        self._successes = 0
        self._deferrals: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._log = log.bind(flow=flow)

    @property
    def pause_s(self) -> float:
        """Seconds until the pause that the target asked for is over; 0 when there is none."""
        return max(0.0, self._resume_at_s - self._clock())

    @property
    def is_breaker_open(self) -> bool:
        """Whether the target is taken to be down."""
        return self._breaker.is_open

    def order(self, settings: RuntimeSettings) -> None:
        """Heed what an operator has ordered. Until it is known what that is, the gate is closed."""
        if settings.is_paused and not self._is_paused:
            self._log.warning("flow.paused")
        elif self._is_paused and not settings.is_paused:
            self._log.info("flow.resumed")
        self._is_paused = settings.is_paused
        self._changed.set()

    def control_lost(self, is_lost: bool) -> None:
        """Close while no order of an operator's, and no pause of a peer's, could be heard (ADR 20)."""
        self._is_control_lost = is_lost
        self._changed.set()

    def pause(self, for_s: float) -> None:
        """Let nobody of this flow through for so many seconds, at most the longest that an answer can impose."""
        pause_s = min(for_s, self._max_retry_after_s)
        if pause_s > self.pause_s:
            self._pause(pause_s)
            self._announce({"kind": "pause", "for_s": pause_s})

    @property
    def knows_orders(self) -> bool:
        """Whether it is known what an operator has ordered."""
        return self._is_paused is not None

    async def wait(self) -> None:
        """Wait until an attempt may start."""
        while (closed_s := self._closed_s()) > 0:
            self._changed.clear()
            try:
                async with asyncio.timeout(closed_s):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def enter(self) -> Pass | None:
        """Let one attempt through at once; None where the gate has closed since `wait`."""
        if self._closed_s() > 0:
            return None
        if not self._breaker.is_open:
            return Pass.ATTEMPT
        self._probing = True
        return Pass.PROBE

    def abandon_probe(self) -> None:
        """Take back a probe that was let through and found no event."""
        self._probing = False

    def leave(self, event_id: str, result: Result, entered: Pass) -> Verdict:
        """Take note of how an attempt ended and say how that counts for its event."""
        if entered is Pass.PROBE:
            self._probing = False
            self._changed.set()
        if isinstance(result, Succeeded):
            self._successes += 1
            self._deferrals.pop(event_id, None)
        if isinstance(result, Succeeded) or (entered is Pass.PROBE and result.reason not in TARGET_WIDE_REASONS):
            self._close_breaker()  # an answer that only this event gets also says that the target is up
        match result:
            case Succeeded():
                return Verdict.COUNTS
            case Failed() if result.asks_to_wait:
                return self._throttle(event_id, result)
            case Failed(reason=reason):
                return self._fail(event_id, reason, entered)

    def hear(self, announcement: Announcement) -> None:
        """Heed what a peer says."""
        match announcement:
            case {"kind": "pause", "for_s": int() | float() as for_s}:
                self._pause(for_s)
            case {"kind": "breaker", "open": True, "from": str() as prober}:
                self._note_breaker(lambda: self._breaker.heard_open(prober, now_s=self._clock()))
            case {"kind": "breaker", "open": False}:
                self._note_breaker(self._breaker.close)

    def tell(self) -> None:
        """Tell the peers, among them those that join now, what they must know."""
        if self.pause_s > 0:
            self._announce({"kind": "pause", "for_s": round(self.pause_s, 3)})
        if self._breaker.is_prober:
            self._announce({"kind": "breaker", "open": True})

    def _closed_s(self) -> float:
        if self._probing or self._is_control_lost or self._is_paused is not False:
            return 3600.0  # until the end of that, which wakes whoever waits
        return max(self.pause_s, self._breaker.probe_in_s(now_s=self._clock()))

    def _close_breaker(self) -> None:
        was_open = self._breaker.is_open
        self._note_breaker(self._breaker.close)
        if was_open:
            self._announce({"kind": "breaker", "open": False})

    def _throttle(self, event_id: str, result: Failed) -> Verdict:
        deferrals, successes = self._deferrals.pop(event_id, (0, self._successes))
        if deferrals >= DEFERRALS_MAX and self._successes > successes:
            return Verdict.COUNTS  # others get through: it is this event that the target does not want
        self._deferrals[event_id] = (deferrals + 1, successes)
        if len(self._deferrals) > DEFERRED_IDS_MAX:
            self._deferrals.popitem(last=False)
        asked_s = UNSTATED_PAUSE_S if result.feedback.retry_after_s is None else result.feedback.retry_after_s
        already_s = self.pause_s
        self.pause(max(PAUSE_MIN_S, asked_s))
        if self.pause_s > already_s:
            self._log.info("target.throttled", status=result.status, pause_s=round(self.pause_s, 3))
        return Verdict.DEFER

    def _fail(self, event_id: str, reason: str, entered: Pass) -> Verdict:
        if self._breaker.is_open:
            if entered is Pass.PROBE:
                self._breaker.probe_failed(now_s=self._clock())
            return Verdict.UNCOUNTED if reason in TARGET_WIDE_REASONS else Verdict.COUNTS
        if entered is Pass.PROBE:
            return Verdict.UNCOUNTED  # another attempt's success closed it meanwhile
        if self._note_breaker(lambda: self._breaker.failed(event_id, reason, now_s=self._clock())):
            self.tell()
        return Verdict.COUNTS

    def _pause(self, for_s: float) -> None:
        pause_s = min(max(0.0, for_s), self._max_retry_after_s)
        self._resume_at_s = max(self._resume_at_s, self._clock() + pause_s)
        self._changed.set()

    def _note_breaker(self, note: Callable[[], object]) -> bool:
        """Let the breaker take note of something, tell of a change, and return whether it is open now."""
        was_open = self._breaker.is_open
        note()
        if self._breaker.is_open != was_open:
            self._on_breaker(self._breaker.is_open)
            if self._breaker.is_open:
                self._log.error("breaker.opened", prober=self._breaker.prober)
            else:
                self._log.info("breaker.closed")
        self._changed.set()
        return self._breaker.is_open
