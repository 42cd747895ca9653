"""What became of an attempt, as the consumer must settle it: a closed set. Pure."""

from dataclasses import dataclass

from eventflow.message import Envelope

TOO_LARGE = "too_large"
"""Why an event is given up whose copy the broker does not take; its dead letter has the broker's word `rejected`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The target took the event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """The attempt failed and another one follows.

    Attributes:
        envelope: The event with its next attempt's number and its failure.
        delay_s: One of the flow's retry delays.
    """

    envelope: Envelope
    delay_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Defer:
    """The attempt does not count, because the target is down or asked to wait: the event comes back as it is.

    Attributes:
        delay_s: One of the flow's retry delays.
    """

    delay_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """The attempt does not count, and the wait is short: the delivery stays in memory, unsettled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """The last attempt failed; `envelope` says why and how many were made."""

    envelope: Envelope


Outcome = Delivered | Retry | Defer | Hold | DeadLetter
