"""Decision after a failed attempt: retry, defer, hold or dead letter. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import assert_never

from eventflow.message import Envelope, Failure
from eventflow.outcome import CONFIRM_MAX_S, Copied, DeadLetter, Defer, Hold, Retry
from eventflow.settings.target import TargetSettings
from eventflow_processor.gate.verdict import Verdict
from eventflow_processor.target.oauth2.grant import FETCH_MAX_S
from eventflow_processor.target.result import Failed, Order, Unsendable

HELD_IN_MEMORY_S = 45.0
"""A pause below this is waited out in memory; a longer one in a delay queue. Nothing is held unacked for a minute."""

CRASH_PAUSE_S = 1.0
"""Pause before a delivery is requeued after an internal error: it is delivered again at once, and most likely fails
again."""

REPEAT_WAIT_MAX_S = 10.0
"""Longest time that a repeated request waits for the quota. After it, the event waits for its next turn."""

JITTER_FROM = 0.75
HELD_SLACK_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Limits and delays of repeated attempts.

    Attributes:
        max_attempts: Counted attempts before the event is dead-lettered.
        delays_s: Delay after the first, second, ... failure; the last one repeats.
        max_retry_after_s: Longest delay that a target's `Retry-After` can impose.
    """

    max_attempts: int
    delays_s: tuple[float, ...]
    max_retry_after_s: float = 900.0

    def delay_s(self, attempt: int, *, dice: float) -> float:
        """Return the delay that follows the failure of attempt number `attempt`, from 1.

        Each delay is a queue, so jitter is a choice between neighbours: if `dice`, a random number from 0 to 1, is
        `JITTER_FROM` or more, the next longer delay is used. So events that fail together do not all return together.
        """
        step = attempt - 1 + (dice >= JITTER_FROM)
        return self.delays_s[min(step, len(self.delays_s) - 1)]

    def delay_after_s(self, result: Failed, attempt: int, *, dice: float) -> float:
        """Return the delay that follows a failed attempt: not shorter than the target's answer asks for.

        Each delay is a queue, so the result can be longer, up to the next of them.
        """
        usual_s = self.delay_s(attempt, dice=dice)
        asked_s = min(result.feedback.retry_after_s or 0.0, self.max_retry_after_s)
        return max(usual_s, self.delay_of_at_least_s(asked_s))

    def delay_of_at_least_s(self, wanted_s: float) -> float:
        """Return the shortest delay that is not shorter than `wanted_s`, or the longest there is."""
        return next((delay_s for delay_s in self.delays_s if delay_s >= wanted_s), self.delays_s[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Failure of an attempt, and all else that the decision depends on.

    Attributes:
        verdict: Whether the failure counts for its event.
        pause_s: Time from now for which the target wants no requests.
        dice: Random number from 0 to 1, for the jitter.
        traceparent: Trace context of the attempt; None if its trace is not recorded.
    """

    result: Failed
    verdict: Verdict
    pause_s: float
    at: datetime
    dice: float
    traceparent: str | None = None


def decide(envelope: Envelope, ending: Ending, policy: RetryPolicy) -> Hold | Copied:
    """Decide the outcome of a delivery after a failure. Every failure is retried, until the last counted attempt.

    A handler can order otherwise for its event.
    """
    match ending.result.order:
        case Order.GIVE_UP:
            return DeadLetter(envelope=replace(envelope, failure=_failure_of(envelope, ending)))
        case Order.RETRY_LATER:
            return Defer(delay_s=policy.delay_of_at_least_s(ending.result.feedback.retry_after_s or 0.0))
        case Order.RETRY:
            return _decide_by_verdict(envelope, ending, policy)
        case _:
            assert_never(ending.result.order)


def _decide_by_verdict(envelope: Envelope, ending: Ending, policy: RetryPolicy) -> Hold | Copied:
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


def _decide_counted(envelope: Envelope, ending: Ending, policy: RetryPolicy) -> Retry | DeadLetter:
    failure = _failure_of(envelope, ending)
    if envelope.attempt >= policy.max_attempts:
        return DeadLetter(envelope=replace(envelope, failure=failure))
    return Retry(
        envelope=replace(envelope, attempt=envelope.attempt + 1, failure=failure),
        delay_s=policy.delay_after_s(ending.result, envelope.attempt, dice=ending.dice),
    )


def _failure_of(envelope: Envelope, ending: Ending) -> Failure:
    failed = ending.result
    return Failure(
        reason=failed.reason,
        status=failed.status,
        first_at=envelope.failure.first_at if envelope.failure else ending.at,
        last_at=ending.at,
        detail=failed.detail,
        text=failed.text,
        traceparent=ending.traceparent,
    )


def given_up(envelope: Envelope, result: Unsendable, *, at: datetime, traceparent: str | None) -> DeadLetter:
    """Return the outcome for an event for which no request can be built: a retry could not build one either."""
    failure = Failure(
        reason="unsendable",
        status=None,
        first_at=envelope.failure.first_at if envelope.failure else at,
        last_at=at,
        text=result.text,
        traceparent=traceparent,
    )
    return DeadLetter(envelope=replace(envelope, failure=failure))


def held_max_s(target: TargetSettings) -> float:
    """Return the longest time that a delivery may be unsettled: a wait, its attempt, and the confirm of its copy."""
    return HELD_IN_MEMORY_S + attempt_max_s(target) + CONFIRM_MAX_S + CRASH_PAUSE_S + HELD_SLACK_S


def attempt_max_s(target: TargetSettings) -> float:
    """Return the longest time of an attempt: a request, and once more after its connection was stale.

    With access tokens it is twice that, because a refused token is replaced, and both times a token may be fetched.
    """
    repeated_s = target.timeout_s + REPEAT_WAIT_MAX_S + target.timeout_s
    if target.oauth2_token_url is None:
        return repeated_s
    return 2 * (FETCH_MAX_S + repeated_s) + REPEAT_WAIT_MAX_S
