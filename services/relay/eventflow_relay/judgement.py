"""The outcome of a publish: what becomes of its row. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from eventflow.errors import (
    EventFlowError,
    InvalidEventError,
    MessageTooLargeError,
    PublishRefusedError,
    UnroutableError,
)

PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
"""Pauses after the failed tries of a row; the last one repeats."""

Reason = Literal["invalid", "too_large", "unroutable", "refused", "internal"]
"""Label of the failures in the metrics."""


class InternalRowError(EventFlowError):
    """An unexpected error of this program for one row, which must not stop the others."""


_REASONS: Final[Mapping[type[EventFlowError], Reason]] = {
    UnroutableError: "unroutable",
    MessageTooLargeError: "too_large",
    InternalRowError: "internal",
}
"""Reasons of a row that a later try may not meet."""


class Published(Protocol):
    """A publish that has ended, or that takes too long."""

    @property
    def is_confirmed(self) -> bool:
        """Whether the broker has confirmed it."""
        ...

    @property
    def error(self) -> EventFlowError | None:
        """The reason for which it was not confirmed."""
        ...


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The broker keeps the event, so the row is deleted."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The broker is away, or has not answered. The row stays as it is, and its event may be published twice."""


@dataclass(frozen=True, slots=True)
class FlowRefused:
    """The queue takes no event now, because an operator's policy limits it. The rows of the flow stay as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFailed:
    """The row cannot be published, for a reason of its own.

    Attributes:
        reason: Label in the metrics.
        error: The same for people.
        pause_s: Time until the next try; None parks the row.
    """

    reason: Reason
    error: str
    pause_s: float | None


Judgement = Confirmed | Unknown | FlowRefused | RowFailed


def judge(published: Published, *, tries: int, max_tries: int) -> Judgement:
    """Return the outcome of a publish.

    Args:
        published: The publish.
        tries: Failed tries of the row before this one.
        max_tries: Failed tries after which a row is parked.
    """
    match published.error:
        case None:
            return Confirmed() if published.is_confirmed else Unknown()
        case PublishRefusedError():
            return FlowRefused()
        case UnroutableError() | MessageTooLargeError() | InternalRowError() as error:
            return _failed(error, tries=tries, max_tries=max_tries)
        case InvalidEventError() as error:  # no later try can differ
            return RowFailed(reason="invalid", error=str(error), pause_s=None)
        case _:
            return Unknown()


def _failed(error: EventFlowError, *, tries: int, max_tries: int) -> RowFailed:
    reason = next(reason for kind, reason in _REASONS.items() if isinstance(error, kind))
    is_last = tries + 1 >= max_tries
    pause_s = None if is_last else PAUSES_S[min(tries, len(PAUSES_S) - 1)]
    return RowFailed(reason=reason, error=str(error), pause_s=pause_s)
