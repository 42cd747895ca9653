"""Decision after an attempt: delivered, retry, defer, hold or dead letter. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import assert_never

from eventflow.message import Envelope, Failure
from eventflow.outcome import DeadLetter, Defer, Delivered, Hold, Outcome, Retry
from eventflow_processor.gate.verdict import Verdict
from eventflow_processor.target.result import Failed, Judged, Succeeded

HELD_IN_MEMORY_S = 45.0
"""A pause below this is waited out in memory; a longer one in a delay queue. Nothing is held unacked for a minute."""

CRASH_PAUSE_S = 1.0
"""Pause before a delivery whose turn failed of an error of our own is requeued: it comes again at once, and will most
likely fail again."""

REPEAT_WAIT_MAX_S = 10.0
"""How long a request that is to be repeated waits for the quota. Then the event waits its turn like any other."""

JITTER_FROM = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Limits and delays of repeated attempts.

    Attributes:
        max_attempts: Counted attempts before the event is dead-lettered.
        delays_s: Delay after the first, second, ... failure; the last repeats.
        max_retry_after_s: The longest delay that a target's `Retry-After` can impose.
    """

    max_attempts: int
    delays_s: tuple[float, ...]
    max_retry_after_s: float = 900.0

    def delay_s(self, attempt: int, *, dice: float) -> float:
        """Return the delay that follows the failure of attempt number `attempt`, from 1.

        Delays are queues, so jitter is a choice between neighbours: a `dice`, evenly from 0 to 1, of `JITTER_FROM` or
        more takes the next longer one, so that failures of one moment do not all come back at one moment.
        """
        step = attempt - 1 + (dice >= JITTER_FROM)
        return self.delays_s[min(step, len(self.delays_s) - 1)]

    def delay_after_s(self, result: Judged, attempt: int, *, dice: float) -> float:
        """Return the delay that follows an attempt: no shorter than the target's answer asks for.

        Delays are queues, so it can be longer than asked for, up to the next of them.
        """
        usual_s = self.delay_s(attempt, dice=dice)
        asked_s = min(result.feedback.retry_after_s or 0.0, self.max_retry_after_s)
        return max(usual_s, self.delay_of_at_least_s(asked_s))

    def delay_of_at_least_s(self, wanted_s: float) -> float:
        """Return the shortest delay that is not shorter than `wanted_s`, or the longest there is."""
        return next((delay_s for delay_s in self.delays_s if delay_s >= wanted_s), self.delays_s[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Result of an attempt, and all else that the decision depends on.

    Attributes:
        verdict: Whether the result counts for its event.
        pause_s: Time from now for which the target wants no requests.
        dice: Random number from 0 to 1, for the jitter.
        traceparent: Trace context of the attempt; None if its trace is not recorded.
    """

    result: Judged
    verdict: Verdict
    pause_s: float
    at: datetime
    dice: float
    traceparent: str | None = None


def decide(envelope: Envelope, ending: Ending, policy: RetryPolicy) -> Outcome:
    """Decide the outcome of a delivery. Any answer but a success is a failure, and every failure is retried."""
    match ending.verdict:
        case Verdict.DEFER:
            if ending.pause_s < HELD_IN_MEMORY_S:
                return Hold()
            return Defer(delay_s=policy.delay_of_at_least_s(ending.pause_s))
        case Verdict.UNCOUNTED:
            return Defer(delay_s=policy.delay_after_s(ending.result, envelope.attempt, dice=ending.dice))
        case Verdict.COUNTS:
            return _decide_counted(envelope, ending, policy)
        case _:
            assert_never(ending.verdict)


def _decide_counted(envelope: Envelope, ending: Ending, policy: RetryPolicy) -> Outcome:
    match ending.result:
        case Succeeded():
            return Delivered()
        case Failed(reason=reason, status=status, detail=detail):
            first_at = envelope.failure.first_at if envelope.failure else ending.at
            failure = Failure(
                reason=reason,
                status=status,
                first_at=first_at,
                last_at=ending.at,
                detail=detail,
                traceparent=ending.traceparent,
            )
            if envelope.attempt >= policy.max_attempts:
                return DeadLetter(envelope=replace(envelope, failure=failure))
            return Retry(
                envelope=replace(envelope, attempt=envelope.attempt + 1, failure=failure),
                delay_s=policy.delay_after_s(ending.result, envelope.attempt, dice=ending.dice),
            )
        case _:
            assert_never(ending.result)
