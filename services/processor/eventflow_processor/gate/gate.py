"""When the next attempt of a flow may start.

No attempt starts while an operator has paused the flow, while the target has asked for a pause, while the target is
down or refuses every event, or while errors of our own keep every event from being handled. Decisions that are made
here are sent to the flow's other processors, and theirs are followed.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable

import structlog

from eventflow.control.bus import Announcement
from eventflow.control.overrides import Overrides
from eventflow_processor.gate.breaker import Breaker, Cause, trouble_of
from eventflow_processor.gate.own_errors import OwnErrors
from eventflow_processor.gate.verdict import Pass, Verdict
from eventflow_processor.target.result import Failed, Judged, Succeeded

DEFERRALS_MAX = 3
REMEMBERED_IDS_MAX = 10_000
UNSTATED_PAUSE_S = 1.0
"""The pause after a 429 that does not say how long."""

UNTIL_CHANGED_S = 3600.0
"""Upper bound of a wait that a change ends early."""

PAUSE_MIN_S = 0.1
"""`Retry-After: 0` must not make a loop of a target that means it and one that never lets anybody through."""

log = structlog.stdlib.get_logger()


class _Memory:
    """How often each of the latest events was noted, and the count of successes that was noted with it."""

    def __init__(self) -> None:
        self._of: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def take(self, event_id: str) -> tuple[int, int]:
        """Forget an event; return how often it was noted, and the successes; zeros for one that is not known."""
        return self._of.pop(event_id, (0, 0))

    def note(self, event_id: str, times: int, successes: int) -> None:
        """Remember an event as the latest."""
        self._of[event_id] = (times, successes)
        if len(self._of) > REMEMBERED_IDS_MAX:
            self._of.popitem(last=False)


class Gate:
    """Lets attempts through, one caller at a time."""

    def __init__(
        self,
        *,
        flow: str,
        instance: str,
        max_retry_after_s: float,
        broadcast: Callable[[Announcement], None],
        on_breaker: Callable[[Cause | None], None],
        on_blocked: Callable[[bool], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start open.

        Args:
            max_retry_after_s: The longest pause that an answer can impose.
            broadcast: Tells the flow's other processors.
            on_breaker: Called with the cause when the breaker opens, and with None when it closes.
            on_blocked: Called with True when errors of our own block the flow, and with False when it is free again.
        """
        self._breaker = Breaker(instance=instance)
        self._own_errors = OwnErrors()
        self._max_retry_after_s = max_retry_after_s
        self._broadcast = broadcast
        self._on_breaker = on_breaker
        self._on_blocked = on_blocked
        self._clock = clock
        self._changed = asyncio.Event()
        self._resume_at_s = 0.0
        self._is_paused: bool | None = None  # by an operator; None until that is known
        self._is_control_lost = False
        self._is_outdated = False  # what is known of the breaker is from before the control connection was lost
        self._probing = False
        self._successes = 0
        self._deferrals = _Memory()
        self._unreached = _Memory()
        self._log = log.bind(flow=flow)

    @property
    def pause_s(self) -> float:
        """Seconds until the pause that the target asked for is over; 0 when there is none."""
        return max(0.0, self._resume_at_s - self._clock())

    @property
    def is_breaker_open(self) -> bool:
        """Whether the target is taken to be down, or to refuse everybody."""
        return self._breaker.is_open

    @property
    def cause(self) -> Cause | None:
        """Why the breaker is open; None while it is closed."""
        return self._breaker.cause

    @property
    def blocked_by(self) -> str | None:
        """The type of the error of our own that blocks the flow in this processor; None if none does."""
        return self._own_errors.blocked_by

    @property
    def is_open(self) -> bool:
        """Whether an attempt may start now."""
        return self._closed_s(takes_over=False) <= 0

    def is_open_to(self, entered: Pass) -> bool:
        """Whether an attempt that was let through as `entered` may send its request once more."""
        if self._is_control_lost or self._is_paused is not False or self.pause_s > 0:
            return False
        return entered is Pass.PROBE or not self._breaker.is_open

    def apply_overrides(self, settings: Overrides) -> None:
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
        self._is_outdated |= is_lost
        self._changed.set()

    @property
    def knows_overrides(self) -> bool:
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
        if not self._breaker.is_open and self.blocked_by is None:
            return Pass.ATTEMPT
        self._probing = True
        return Pass.PROBE

    def abandon_probe(self) -> None:
        """Take back a probe that was let through and made no attempt, or was lost to an error of our own."""
        self._probing = False
        self._breaker.probe_abandoned(now_s=self._clock())
        self._changed.set()

    def leave(self, event_id: str, result: Judged, entered: Pass, *, no_room_s: float = 0.0) -> Verdict:
        """Take note of how an attempt ended and return how that counts for its event.

        Args:
            no_room_s: For how long the answer says that the target has no room for any attempt.
        """
        if entered is Pass.PROBE:
            self._probing = False
            self._changed.set()
        if isinstance(result, Succeeded):
            self._successes += 1
            self._deferrals.take(event_id)
            self._close_breaker()
            self._pause_for(no_room_s, result)
            return Verdict.COUNTS
        if result.asks_to_wait:
            if entered is Pass.PROBE:
                self._close_breaker()  # it answers for itself
            return self._throttle(event_id, result, no_room_s)
        self._pause_for(no_room_s, result)
        return self._fail(event_id, result, entered)

    def failed_ourselves(self, event_id: str, error: Exception) -> int:
        """Note that a turn ended in an error of our own; return how often the turns of this event have.

        Peers are not informed: the next processor may have what this one lacks.
        """
        times = self._note_own_errors(lambda: self._own_errors.failed(event_id, error, now_s=self._clock()))
        return times or 1

    def ended_well(self) -> None:
        """Note that a turn ended without an error of our own."""
        if self._own_errors.has_any:  # at every turn, and hardly ever
            self._note_own_errors(self._own_errors.ended_well)

    def on_peer_message(self, announcement: Announcement) -> None:
        """Heed what a peer says."""
        match announcement:
            case {"kind": "pause", "for_s": int() | float() as for_s}:
                self._pause(for_s)
            case {"kind": "breaker", "open": True, "from": str() as prober}:
                cause = Cause.BLOCKED if announcement.get("cause") == Cause.BLOCKED else Cause.DOWN  # 0.1.0 names none
                status = announcement.get("status")
                self._note_breaker(
                    lambda: self._breaker.heard_open(
                        prober, cause=cause, status=status if isinstance(status, int) else None, now_s=self._clock()
                    )
                )
            case {"kind": "breaker", "open": False}:
                self._note_breaker(self._breaker.close)

    def broadcast_state(self, *, can_attempt: bool = True) -> None:
        """Tell the peers, among them those that join now, what they must know.

        Args:
            can_attempt: Whether this processor could probe now. If it cannot, it must not keep the others from it.
        """
        if self.pause_s > 0:
            self._broadcast({"kind": "pause", "for_s": round(self.pause_s, 3)})
        can_probe = can_attempt and not self._is_control_lost and not self._is_outdated and self.blocked_by is None
        if self._breaker.is_prober and can_probe:
            self._broadcast(
                {"kind": "breaker", "open": True, "cause": self._breaker.cause, "status": self._breaker.status}
            )

    def _closed_s(self, *, takes_over: bool = True) -> float:
        if self._probing or self._is_control_lost or self._is_paused is not False:
            return UNTIL_CHANGED_S
        now_s = self._clock()
        if (blocked_s := self._own_errors.closed_s(now_s=now_s)) > 0:
            return max(blocked_s, self.pause_s)
        return max(self.pause_s, self._breaker.probe_in_s(now_s=now_s, takes_over=takes_over))

    def _close_breaker(self) -> None:
        was_open = self._breaker.is_open
        self._note_breaker(self._breaker.close)
        if was_open:
            self._broadcast({"kind": "breaker", "open": False})

    def _throttle(self, event_id: str, result: Failed, no_room_s: float) -> Verdict:
        deferrals, successes = self._deferrals.take(event_id)
        if deferrals >= DEFERRALS_MAX and self._successes > successes:
            self._pause_for(no_room_s, result)
            return Verdict.COUNTS  # others get through: it is this event that the target does not want
        self._deferrals.note(event_id, deferrals + 1, successes if deferrals else self._successes)
        asked_s = UNSTATED_PAUSE_S if result.feedback.retry_after_s is None else result.feedback.retry_after_s
        self._pause_for(max(PAUSE_MIN_S, asked_s, no_room_s), result)
        return Verdict.DEFER

    def _fail(self, event_id: str, result: Failed, entered: Pass) -> Verdict:
        trouble = trouble_of(result)
        if self._breaker.is_open and entered is Pass.PROBE and self._breaker.is_end(trouble):
            self._close_breaker()
        if self._breaker.is_open:
            if entered is Pass.PROBE:
                self._is_outdated = False
                self._breaker.probe_failed(now_s=self._clock())
            return Verdict.COUNTS if trouble is None else Verdict.UNCOUNTED
        if self._note_breaker(lambda: self._breaker.failed(event_id, trouble, now_s=self._clock()), latest=result):
            self.broadcast_state()
            return Verdict.UNCOUNTED
        if entered is Pass.PROBE:
            return Verdict.UNCOUNTED  # it was let through as nothing that counts
        return Verdict.COUNTS if result.reached else self._verdict_unreached(event_id)

    def _verdict_unreached(self, event_id: str) -> Verdict:
        """Judge a failure without a connection: it counts only if others got through since the last such.

        Without a success in between nothing tells an outage from a poison event, and waiting loses nothing.
        """
        times, successes = self._unreached.take(event_id)
        self._unreached.note(event_id, times + 1, self._successes)
        return Verdict.COUNTS if times and self._successes > successes else Verdict.UNCOUNTED

    def _pause_for(self, asked_s: float, result: Judged) -> None:
        """Let nothing of this flow through for so many seconds, at most the longest that an answer can impose."""
        pause_s = min(asked_s, self._max_retry_after_s)
        if pause_s <= self.pause_s:
            return
        self._pause(pause_s)
        self._broadcast({"kind": "pause", "for_s": pause_s})
        # A leaky bucket has no room for an instant after every request: that is its pace and no news.
        log_it = self._log.info if isinstance(result, Failed) or pause_s >= UNSTATED_PAUSE_S else self._log.debug
        log_it("target.throttled", status=result.status, pause_s=round(pause_s, 3), asked_s=round(asked_s, 3))

    def _pause(self, for_s: float) -> None:
        pause_s = min(max(0.0, for_s), self._max_retry_after_s)
        self._resume_at_s = max(self._resume_at_s, self._clock() + pause_s)
        self._changed.set()

    def _note_own_errors(self, note: Callable[[], int | None]) -> int | None:
        """Let errors of our own be noted, and report a change."""
        before = self.blocked_by
        noted = note()
        if (after := self.blocked_by) is not None and before is None:
            self._on_blocked(True)
            self._log.error("flow.blocked", error=after, action="tries one event at a time")
        elif after is None and before is not None:
            self._on_blocked(False)
            self._log.info("flow.unblocked")
        self._changed.set()
        return noted

    def _note_breaker(self, note: Callable[[], object], *, latest: Failed | None = None) -> bool:
        """Let the breaker take note of something, report a change, and return whether it is open now.

        Args:
            latest: The failure that is noted, if it is one of our own attempts.
        """
        before = self._breaker.cause
        note()
        if (cause := self._breaker.cause) is not before:
            self._is_outdated = False
            self._on_breaker(cause)
            match cause:
                case Cause.DOWN:
                    why = {} if latest is None else {"reason": latest.reason, "detail": latest.detail}
                    self._log.error("breaker.opened", prober=self._breaker.prober, **why)
                case Cause.BLOCKED:
                    self._log.error("target.blocked", status=self._breaker.status, prober=self._breaker.prober)
                case None:
                    self._log.info("breaker.closed")
        self._changed.set()
        return self._breaker.is_open
