"""Results of calls: an exception, or a value that is no event, becomes the failure of an attempt. Pure."""

import traceback
from collections.abc import Collection, Coroutine, Sequence
from typing import Final

from eventflow.database.failures import is_aborted
from eventflow.database.failures import is_away as shows_outage
from eventflow.errors import (
    BrokerUnavailableError,
    DatabaseSchemaError,
    DatabaseUnavailableError,
    InboxLockedError,
    PublishRefusedError,
    PublishTimeoutError,
    UnroutableError,
)
from eventflow.excerpt import excerpt_of
from eventflow.handling.derived import DerivedEvent
from eventflow.handling.orders import Reject, RetryLater
from eventflow.handling.transactions.port import ABORTED, EndedTransactionError
from eventflow.network.failure import NO_DATABASE
from eventflow_processor.target.feedback import NOTHING, Feedback
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
    if isinstance(returned, Coroutine):  # of an `async` function behind a decorator that hides it
        returned.close()
        return "a coroutine: declare the function itself `async`"
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
    # A `Reject` that a lost connection may have caused is none: the next attempt can reject the event again.
    if not (is_away and isinstance(error, Reject)) and (decided := _decided(error, secrets)) is not None:
        return decided
    if is_away or isinstance(error, DatabaseUnavailableError | DatabaseSchemaError) or shows_outage(error):
        return database_away(last_line_of(error), secrets)
    text = ABORTED if is_aborted(error) else last_line_of(error)
    return Failed(reason="handler_raised", text=_shown(text, secrets))


def _decided(error: BaseException, secrets: Collection[str]) -> Failed | None:
    """Return the failure for an error that decides what follows for its event; None if it does not."""
    match error:
        case Reject(reason=reason):
            return Failed(reason="handler_rejected", text=_shown(str(reason), secrets), order=Order.GIVE_UP)
        case EndedTransactionError():
            # At once: if it has committed, the inbox has the event, and a repetition would be skipped as a duplicate.
            return Failed(reason="handler_raised", text=str(error), order=Order.GIVE_UP)
        case RetryLater(seconds=seconds):
            return _deferred(f"it asks for {seconds:g} s", after_s=max(0.0, seconds))
        case InboxLockedError():
            return _deferred(str(error))
        case _ if isinstance(error, _NOT_PUBLISHED):
            return _deferred(f"a derived event could not be published: {error}")
        case _:
            return None


def _deferred(text: str, *, after_s: float | None = None) -> Failed:
    feedback = NOTHING if after_s is None else Feedback(retry_after_s=after_s)
    return Failed(reason="handler_deferred", text=excerpt_of(text), feedback=feedback, order=Order.RETRY_LATER)


def database_away(text: str, secrets: Collection[str] = ()) -> Failed:
    """Return the failure while the database cannot be used: an outage, which no event has a part in."""
    return Failed(reason="connection", detail=NO_DATABASE, text=_shown(text, secrets), reached=False, answered=False)


def too_late(timeout_s: float) -> Failed:
    """Return the failure of a function that has not returned in time."""
    return Failed(reason="timeout", text=f"the function has not returned within {timeout_s:g} s")


def last_line_of(error: BaseException) -> str:
    """Return the last line of the traceback of an error, without notes: its kind, and the first line of its text."""
    lines = traceback.format_exception_only(error)
    # A syntax error begins with its place. Of every other error, the lines that follow are its notes.
    return lines[-1 if isinstance(error, SyntaxError) else 0].partition("\n")[0]


def _shown(text: str, secrets: Collection[str]) -> str | None:
    for secret in secrets:
        text = text.replace(secret, "***")
    return excerpt_of(text)
