"""Outcomes of attempts, by which deliveries are settled: a closed set. Pure."""

from dataclasses import dataclass
from typing import ClassVar, Literal, assert_never

from eventflow.message import Envelope
from eventflow.topology import dead_queue, retry_queue

Word = Literal["delivered", "retry", "defer", "hold", "dead"]
"""The name of an outcome in metrics, traces, logs and `eventflow why`."""

FAILURE_REASONS = (
    "throttled",
    "client_error",
    "server_error",
    "redirect",
    "unexpected_status",
    "refused",
    "timeout",
    "connection",
    "unsendable",
    "handler_raised",
    "handler_rejected",
    "handler_deferred",
    "internal",
)
"""Reasons of failed attempts: a closed set, because metrics use them as labels."""

TOO_LARGE = "too_large"
"""Reason of an event that is given up because the broker accepts no copy of it. In its dead letter, the broker writes
`rejected`."""

CONFIRM_MAX_S = 45.0
"""Longest time that a delivery waits for the confirm of its copy before it is requeued. Well below a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The target accepted the event."""

    word: ClassVar[Word] = "delivered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """The attempt failed and another one follows.

    Attributes:
        envelope: The event with its next attempt's number and its failure.
        delay_s: One of the flow's retry delays.
    """

    word: ClassVar[Word] = "retry"
    envelope: Envelope
    delay_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Defer:
    """The attempt does not count, because the target is down or asked to wait: the event is repeated unchanged.

    Attributes:
        delay_s: One of the flow's retry delays.
    """

    word: ClassVar[Word] = "defer"
    delay_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """The attempt does not count, and the wait is short: the delivery stays in memory, unsettled."""

    word: ClassVar[Word] = "hold"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """The last attempt failed; `envelope` has the reason and the number of attempts."""

    word: ClassVar[Word] = "dead"
    envelope: Envelope


Copied = Retry | Defer | DeadLetter
"""The event moves to another queue: its copy must be confirmed before the delivery is acked."""

Outcome = Delivered | Hold | Copied


def copy_queue(outcome: Outcome, *, flow: str) -> str | None:
    """Return the queue that gets a copy of the event; None if there is no copy."""
    match outcome:
        case Retry(delay_s=delay_s) | Defer(delay_s=delay_s):
            return retry_queue(flow, delay_s)
        case DeadLetter():
            return dead_queue(flow)
        case Delivered() | Hold():
            return None
        case _:
            assert_never(outcome)
