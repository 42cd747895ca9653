"""What follows from an attempt. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime

from eventflow.message import Envelope, Failure
from eventflow.outcome import DeadLetter, Delivered, Outcome, Retry
from processor.target import Failed, Result, Succeeded


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how late a failed attempt is repeated.

    Attributes:
        max_attempts: Counted attempts before the event is dead-lettered.
        delays_s: Delay after the first, second, ... failure; the last repeats.
    """

    max_attempts: int
    delays_s: tuple[float, ...]

    def delay_s(self, attempt: int) -> float:
        """Return the delay that follows the failure of attempt number `attempt`, from 1."""
        return self.delays_s[min(attempt, len(self.delays_s)) - 1]


def decide(envelope: Envelope, result: Result, policy: RetryPolicy, *, now: datetime) -> Outcome:
    """Decide what becomes of a delivery. Any answer but 2xx is a failure, and every failure is retried."""
    match result:
        case Succeeded():
            return Delivered()
        case Failed(reason=reason, status=status):
            first_at = envelope.failure.first_at if envelope.failure else now
            failure = Failure(reason=reason, status=status, first_at=first_at, last_at=now)
            if envelope.attempt >= policy.max_attempts:
                return DeadLetter(envelope=replace(envelope, failure=failure))
            return Retry(
                envelope=replace(envelope, attempt=envelope.attempt + 1, failure=failure),
                delay_s=policy.delay_s(envelope.attempt),
            )
