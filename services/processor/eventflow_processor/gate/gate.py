"""The gate of a flow: decides if an attempt may start now, and if its result counts.

No attempt starts while an operator has paused the flow, while the target has asked for a pause, while the target is
down or refuses every event, while an attempt waits for what every other needs too, or while internal errors keep every
event from being handled. Pauses and the state of the breaker are broadcast to the flow's other processors, and their
broadcasts are applied here.

All decisions are synchronous. Only `Gate.wait` waits, until a decision changes or a time has come.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import assert_never

import structlog

from eventflow.control.messages import (
    AskStatus,
    BreakerClosed,
    BreakerOpened,
    Broadcast,
    Cause,
    ControlMessage,
    Counted,
    Joined,
    Known,
    Pause,
    RateReduced,
    Why,
)
from eventflow.control.overrides import Overrides
from eventflow.control.reports import TARGET_UP, CollectorReport, FailureCause, ProcessorReport, TargetReport
from eventflow.network.failure import OF_NO_EVENT
from eventflow_processor.gate.breaker import Breaker, trouble_of
from eventflow_processor.gate.error_streak import ErrorStreak
from eventflow_processor.gate.verdict import Pass, Verdict
from eventflow_processor.target.result import Failed, Judged, Succeeded

DEFERRALS_MAX = 3
REMEMBERED_IDS_MAX = 10_000
UNSTATED_PAUSE_S = 1.0
"""Pause after a 429 without a time."""

UNTIL_CHANGED_S = 3600.0
"""Upper bound of a wait that a change ends early."""

PAUSE_MIN_S = 0.1
"""With `Retry-After: 0` a target may refuse every request, so without a pause this would be a busy loop."""

log = structlog.stdlib.get_logger()


class _Memory:
    """For each of the latest events: the number of notes about it, and the number of successes at that time."""

    def __init__(self) -> None:
        self._of: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def take(self, event_id: str) -> tuple[int, int]:
        """Forget an event; return its number of notes and the number of successes, or zeros if it is unknown."""
        return self._of.pop(event_id, (0, 0))

    def note(self, event_id: str, times: int, successes: int) -> None:
        """Remember an event as the latest."""
        self._of[event_id] = (times, successes)
        if len(self._of) > REMEMBERED_IDS_MAX:
            self._of.popitem(last=False)


class Gate:
    """Admits the attempts of one flow, one caller at a time."""

    def __init__(
        self,
        *,
        flow: str,
        instance: str,
        max_retry_after_s: float,
        broadcast: Callable[[ControlMessage], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start closed, until the first overrides are known.

        Args:
            max_retry_after_s: Longest pause that an answer can impose. It counts as at least `PAUSE_MIN_S`.
            broadcast: Sends a message to the flow's other processors.
        """
        self._breaker = Breaker(instance=instance)
        self._error_streak = ErrorStreak()
        self._max_retry_after_s = max(PAUSE_MIN_S, max_retry_after_s)
        self._broadcast = broadcast
        self._logged_cause: Cause | None = None
        self._opened_at_s = 0.0
        self._latest_failure: FailureCause | None = None  # while the breaker is open
        self._logged_blocked = False
        self._clock = clock
        self._changed = asyncio.Event()
        self._resume_at_s = 0.0
        self._is_paused: bool | None = None  # by an operator; None until that is known
        self._overrides: Overrides | None = None
        self._is_control_lost = False
        self._is_target_awaited = False
        self._is_outdated = False  # the breaker's state is from before messages of peers could be missed
        self._probing = False
        self._successes = 0
        self._deferrals = _Memory()
        self._unreached = _Memory()
        self._log = log.bind(flow=flow)

    @property
    def pause_s(self) -> float:
        """Seconds until the pause that the target asked for is over; 0 if there is none."""
        return max(0.0, self._resume_at_s - self._clock())

    @property
    def is_breaker_open(self) -> bool:
        """Whether the target is considered down, or refuses every event."""
        return self._breaker.is_open

    @property
    def cause(self) -> Cause | None:
        """The cause for which the breaker is open; None while it is closed."""
        return self._breaker.cause

    @property
    def blocked_by(self) -> str | None:
        """The type of the internal error that blocks the flow in this processor; None if none does."""
        return self._error_streak.blocked_by

    @property
    def knows_overrides(self) -> bool:
        """Whether the overrides of an operator are known."""
        return self._is_paused is not None

    @property
    def overrides(self) -> Overrides | None:
        """The overrides of an operator; None until they are known."""
        return self._overrides

    @property
    def is_flowing(self) -> bool:
        """Whether events leave the flow, even if slowly: nothing but a short pause of the target stops them."""
        return self._is_paused is False and not (
            self._is_control_lost or self._breaker.is_open or self.blocked_by is not None
        )

    @property
    def target(self) -> TargetReport:
        """The state of the target, for `eventflow status`."""
        cause = self._breaker.cause
        if cause is None:
            return TargetReport(state=TARGET_UP)
        return TargetReport(
            state=cause.value,
            status=self._breaker.status,
            for_s=round(self._clock() - self._opened_at_s, 3),
            failure=self._latest_failure,
        )

    @property
    def is_open(self) -> bool:
        """Whether an attempt may start now. Unlike `enter`, this never makes this processor the prober."""
        return self._closed_s(takes_over=False) <= 0

    @property
    def may_enter(self) -> bool:
        """Whether `enter` would admit an attempt now. Like `enter`, this can make this processor the prober."""
        return self._closed_s() <= 0

    def is_open_to(self, entered: Pass) -> bool:
        """Whether an attempt that was admitted as `entered` may send its request once more."""
        if self._is_control_lost or self._is_paused is not False or self.pause_s > 0:
            return False
        return entered is Pass.PROBE or not self._breaker.is_open

    async def wait(self) -> None:
        """Wait until an attempt may start."""
        while (closed_s := self._closed_s()) > 0:
            # Cleared only after the check above: nothing runs between the two, so no change is missed.
            self._changed.clear()
            try:
                async with asyncio.timeout(closed_s):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def enter(self) -> Pass | None:
        """Admit one attempt at once; None if the gate has closed since `wait`."""
        if self._closed_s() > 0:
            return None
        if not self._breaker.is_open and self.blocked_by is None:
            return Pass.ATTEMPT
        self._probing = True
        return Pass.PROBE

    def abandon_probe(self) -> None:
        """Release a probe that made no attempt, or that ended in an internal error."""
        self._probing = False
        self._breaker.probe_abandoned(now_s=self._clock())
        self._changed.set()

    def leave(self, event_id: str, result: Judged, entered: Pass, *, no_room_s: float = 0.0) -> Verdict:
        """Note the result of an attempt, and return the verdict: whether it counts for its event.

        Args:
            no_room_s: Seconds for which the target has no room for any attempt, according to its answer.
        """
        # The order matters:
        # 1. A probe is released first. Otherwise an exception below would leave the gate closed.
        if entered is Pass.PROBE:
            self._probing = False
            self._changed.set()
        # 2. A success closes the breaker, even if its attempt began before the breaker opened, because it is the latest
        #    answer of the target.
        if isinstance(result, Succeeded):
            self._successes += 1
            self._deferrals.take(event_id)
            if self._breaker.has_failures:  # rarely true
                self._close_breaker()
            self._pause_for(no_room_s, result)
            return Verdict.COUNTS
        # 3. A refusal such as 429 is a failure too, but the target is alive. So it is handled before the rules for
        #    failures. If it answers a probe, it ends the outage; then its pause keeps the gate closed.
        if result.asks_to_wait:
            if entered is Pass.PROBE:
                self._close_breaker()
            return self._throttle(event_id, result, no_room_s)
        # 4. A pause applies after any failure, with any verdict. The retry policy reads `pause_s` after this call.
        self._pause_for(no_room_s, result)
        return self._fail(event_id, result, entered)

    def note_internal_error(self, event_id: str, error: Exception) -> int:
        """Note that a turn ended in an internal error; return the number of such turns of this event.

        Peers are not informed, because the error may concern this processor alone.
        """
        times = self._error_streak.failed(event_id, error, now_s=self._clock())
        self._note_error_streak()
        return times

    def ended_well(self) -> None:
        """Note that a turn ended without an internal error."""
        if self._error_streak.has_any:  # rarely true, and this is called for every turn
            self._error_streak.ended_well()
            self._note_error_streak()

    def apply_overrides(self, overrides: Overrides) -> None:
        """Apply an operator's overrides. The gate is closed until the first are known."""
        if overrides.is_paused and not self._is_paused:
            self._log.warning("flow.paused")
        elif self._is_paused and not overrides.is_paused:
            self._log.info("flow.resumed")
        self._is_paused, self._overrides = overrides.is_paused, overrides
        self._changed.set()

    def control_lost(self, is_lost: bool) -> None:
        """Close while an operator's overrides could be missed (ADR 20)."""
        self._is_control_lost = is_lost
        self._is_outdated |= is_lost
        self._changed.set()

    def target_awaited(self, is_awaited: bool) -> None:
        """Close while an attempt waits for what every other needs too: an access token, or the check of a database.

        If others began meanwhile, all of them would send at the end of the wait, and so exceed the quota.
        """
        self._is_target_awaited = is_awaited
        self._changed.set()

    def peers_missed(self) -> None:
        """Take the breaker's state as outdated: broadcasts of peers could have been missed."""
        self._is_outdated = True

    def on_peer_message(self, received: Broadcast) -> None:
        """Apply a broadcast of a peer."""
        match received.message:
            case Pause(for_s=for_s):
                self._pause(for_s)
            case BreakerOpened(cause=cause, status=status):
                self._breaker.peer_opened(received.sender, cause=cause, status=status, now_s=self._clock())
                self._note_breaker()
            case BreakerClosed():
                self._breaker.close()
                self._note_breaker()
            case RateReduced() | Joined() | Counted() | Why() | Known():
                pass
            case AskStatus() | ProcessorReport() | CollectorReport():
                pass
            case _:
                assert_never(received.message)

    def broadcast_state(self, *, can_attempt: bool = True) -> None:
        """Broadcast the present pause, and the breaker if this processor probes; a peer that joins needs both.

        Args:
            can_attempt: Whether this processor could probe now. A prober that cannot sends nothing, so a peer takes its
                place.
        """
        if (pause_s := self.pause_s) > 0:
            self._broadcast(Pause(for_s=round(pause_s, 3)))
        can_probe = can_attempt and not self._is_control_lost and not self._is_outdated and self.blocked_by is None
        if self._breaker.is_prober and (cause := self._breaker.cause) is not None and can_probe:
            self._broadcast(BreakerOpened(cause=cause, status=self._breaker.status))

    def _closed_s(self, *, takes_over: bool = True) -> float:
        """Return the seconds until an attempt may start; 0 or less if the gate is open."""
        if self._probing or self._is_control_lost or self._is_target_awaited or self._is_paused is not False:
            return UNTIL_CHANGED_S
        now_s = self._clock()
        pause_s = self._resume_at_s - now_s
        if self.blocked_by is None and not self._breaker.is_open:  # true of most calls, and each event makes two
            return pause_s
        # While blocked, `probe_in_s` is not called, because the call can make this processor the prober.
        if (blocked_s := self._error_streak.closed_s(now_s=now_s)) > 0:
            return max(blocked_s, pause_s)
        return max(pause_s, self._breaker.probe_in_s(now_s=now_s, takes_over=takes_over))

    def _close_breaker(self) -> None:
        was_open = self._breaker.is_open
        self._breaker.close()
        self._note_breaker()
        if was_open:
            self._broadcast(BreakerClosed())

    def _throttle(self, event_id: str, result: Failed, no_room_s: float) -> Verdict:
        deferrals, successes = self._deferrals.take(event_id)
        if deferrals >= DEFERRALS_MAX and self._successes > successes:
            # Other events succeeded meanwhile: the target refuses this event, and must not pause the flow with it.
            self._pause_for(no_room_s, result)
            return Verdict.COUNTS
        self._deferrals.note(event_id, deferrals + 1, successes if deferrals else self._successes)
        asked_s = UNSTATED_PAUSE_S if result.feedback.retry_after_s is None else result.feedback.retry_after_s
        self._pause_for(max(PAUSE_MIN_S, asked_s, no_room_s), result)
        return Verdict.DEFER

    def _fail(self, event_id: str, result: Failed, entered: Pass) -> Verdict:
        trouble = trouble_of(result)
        if self._breaker.is_open and entered is Pass.PROBE and self._breaker.is_ended_by(trouble):
            self._close_breaker()
        if self._breaker.is_open:
            # Either the probe has failed, or this attempt began before the breaker opened.
            if entered is Pass.PROBE:
                self._is_outdated = False
                self._latest_failure = _cause_of(result)
                self._breaker.probe_failed(now_s=self._clock())
            return Verdict.COUNTS if trouble is None else Verdict.UNCOUNTED
        if self._breaker.failed(event_id, trouble, now_s=self._clock()):
            # The failure that opens the breaker is a part of the outage. It must not use up its event's last attempt.
            self._note_breaker(latest=result)
            self.broadcast_state()
            return Verdict.UNCOUNTED
        if entered is Pass.PROBE:
            return Verdict.UNCOUNTED  # a probe costs its event no attempt
        if result.detail in OF_NO_EVENT:
            return Verdict.UNCOUNTED
        return Verdict.COUNTS if result.reached else self._verdict_unreached(event_id)

    def _verdict_unreached(self, event_id: str) -> Verdict:
        """Judge a failure to connect: it counts only if other events succeeded since its last such failure.

        Without a success in between, an outage cannot be distinguished from a poison event, and waiting loses nothing.
        """
        times, successes = self._unreached.take(event_id)
        self._unreached.note(event_id, times + 1, self._successes)
        return Verdict.COUNTS if times and self._successes > successes else Verdict.UNCOUNTED

    def _pause_for(self, asked_s: float, result: Judged) -> None:
        """Pause the flow in all processors, for at most `max_retry_after_s`."""
        if asked_s <= 0:
            return
        pause_s = min(asked_s, self._max_retry_after_s)
        if pause_s <= self.pause_s:
            return
        self._pause(pause_s)
        self._broadcast(Pause(for_s=pause_s))
        # A leaky bucket at the target often has no room for a moment after a request. This is normal, so not info.
        log_it = self._log.info if isinstance(result, Failed) or pause_s >= UNSTATED_PAUSE_S else self._log.debug
        log_it("target.throttled", status=result.status, pause_s=round(pause_s, 3), asked_s=round(asked_s, 3))

    def _pause(self, for_s: float) -> None:
        pause_s = min(max(0.0, for_s), self._max_retry_after_s)
        self._resume_at_s = max(self._resume_at_s, self._clock() + pause_s)
        self._changed.set()

    def _note_error_streak(self) -> None:
        """Wake the waiter. If the flow is blocked by internal errors or no longer is, log this change."""
        self._changed.set()
        blocked_by = self.blocked_by
        if (blocked_by is not None) == self._logged_blocked:
            return
        self._logged_blocked = blocked_by is not None
        if blocked_by is None:
            self._log.info("flow.unblocked")
        else:
            self._log.error("flow.blocked", error=blocked_by, action="tries one event at a time")

    def _note_breaker(self, *, latest: Failed | None = None) -> None:
        """Wake the waiter. If the breaker has opened or closed since the last call, log this change.

        Args:
            latest: The failure that has opened it, if the attempt was made by this processor.
        """
        self._changed.set()
        cause = self._breaker.cause
        if cause is self._logged_cause:
            return
        self._logged_cause = cause
        self._is_outdated = False
        self._opened_at_s = self._clock()
        self._latest_failure = None if latest is None else _cause_of(latest)
        why = {} if latest is None else {"reason": latest.reason, "detail": latest.detail, "text": latest.text}
        match cause:
            case Cause.DOWN:
                self._log.error("breaker.opened", prober=self._breaker.prober, **why)
            case Cause.BLOCKED:
                self._log.error("target.blocked", status=self._breaker.status, prober=self._breaker.prober, **why)
            case None:
                self._log.info("breaker.closed")


def _cause_of(failed: Failed) -> FailureCause:
    return FailureCause(reason=failed.reason, status=failed.status, detail=failed.detail, text=failed.text)
