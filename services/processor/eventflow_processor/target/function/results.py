"""Results of calls: an exception, or a value that is no event, becomes the failure of an attempt. Pure."""

import traceback
from collections.abc import Collection, Sequence
from typing import Final

from eventflow.database.failures import is_away as shows_outage
from eventflow.errors import (
    BrokerUnavailableError,
    DatabaseError,
    InboxLockedError,
    PublishRefusedError,
    PublishTimeoutError,
    UnroutableError,
)
from eventflow.excerpt import excerpt_of
from eventflow.handling.derived import DerivedEvent
from eventflow.handling.orders import Reject, RetryLater
from eventflow.network.failure import NO_DATABASE
from eventflow_processor.target.feedback import Feedback
from eventflow_processor.target.result import Failed, Order, Succeeded

SUCCEEDED: Final = Succeeded()
DUPLICATE: Final = Succeeded(reason="duplicate")
"""The inbox has the event: it took effect before."""

_NOT_PUBLISHED = (BrokerUnavailableError, PublishTimeoutError, PublishRefusedError, UnroutableError)
"""Failures to publish an event, which are not its fault."""


def events_of(returned: object, flows: Collection[str]) -> Sequence[DerivedEvent]:
    """Return the events that a function has returned.

    Raises:
        TypeError: It has returned anything else.
        ValueError: An event is for a flow that is not configured.
    """
    match returned:
        case None:
            return ()
        case DerivedEvent():
            events: Sequence[DerivedEvent] = (returned,)
        case list() | tuple() if all(isinstance(each, DerivedEvent) for each in returned):
            events = returned
        case _:
            accepted = "None, an event of context.derive(...) or a list of them"
            raise TypeError(f"a handler returns {accepted}, and not {_kind_of(returned)}")
    if (unknown := next((each.flow for each in events if each.flow not in flows), None)) is not None:
        raise ValueError(f"flow {unknown!r} is not configured; there are: {', '.join(sorted(flows))}")
    return events


def _kind_of(returned: object) -> str:
    if isinstance(returned, list | tuple):
        wrong = next(each for each in returned if not isinstance(each, DerivedEvent))
        return f"a list with {type(wrong).__name__}"
    return type(returned).__name__


def failure_of(error: BaseException, *, is_away: bool, secrets: Collection[str] = ()) -> Failed:
    """Return the failure for an error of a function, or of its transaction.

    Args:
        error: The error.
        is_away: Whether the database is away. Then any error is most likely a consequence.
        secrets: Texts that must not be in the failure.
    """
    match error:
        case Reject(reason=reason):
            return Failed(reason="handler_rejected", text=_shown(reason, secrets), order=Order.GIVE_UP)
        case RetryLater(seconds=seconds):
            feedback = Feedback(retry_after_s=max(0.0, seconds))
            return Failed(
                reason="handler_deferred", text=f"asks for {seconds:g} s", feedback=feedback, order=Order.RETRY_LATER
            )
        case InboxLockedError():
            return Failed(reason="handler_deferred", text=str(error), order=Order.RETRY_LATER)
        case _ if isinstance(error, _NOT_PUBLISHED):
            text = f"a derived event could not be published: {error}"
            return Failed(reason="handler_deferred", text=text, order=Order.RETRY_LATER)
        case _ if is_away or isinstance(error, DatabaseError) or shows_outage(error):
            return database_away(last_line_of(error), secrets)
        case _:
            return Failed(reason="handler_raised", text=_shown(last_line_of(error), secrets))


def database_away(text: str, secrets: Collection[str] = ()) -> Failed:
    """Return the failure while the database cannot be used: an outage, which no event has a part in."""
    return Failed(reason="connection", detail=NO_DATABASE, text=_shown(text, secrets), reached=False, answered=False)


def too_late(timeout_s: float) -> Failed:
    """Return the failure of a function that has not returned in time."""
    return Failed(reason="timeout", text=f"the function has not returned within {timeout_s:g} s")


def last_line_of(error: BaseException) -> str:
    """Return the last line of the traceback of an error: its kind, and the first line of its text."""
    return traceback.format_exception_only(error)[-1].partition("\n")[0]


def _shown(text: str, secrets: Collection[str]) -> str | None:
    for secret in secrets:
        text = text.replace(secret, "***")
    return excerpt_of(text)
