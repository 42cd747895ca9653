"""Errors of functions and of databases as results."""

import pytest

from eventflow.errors import DatabaseUnavailableError, InboxLockedError, PublishTimeoutError
from eventflow.handling import Reject, RetryLater
from eventflow.network.failure import NO_DATABASE
from eventflow_processor.gate.breaker import trouble_of
from eventflow_processor.target.function.results import events_of, failure_of, too_late
from eventflow_processor.target.result import Failed, Order

AWAY = Failed(reason="connection", detail=NO_DATABASE, reached=False, answered=False)


class ServerError(Exception):
    """An error with the SQLSTATE of PostgreSQL, as each driver has it."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__("server")
        self.sqlstate = sqlstate


class WrappedError(Exception):
    """An error of SQLAlchemy, which wraps that of the driver."""

    def __init__(self, orig: Exception) -> None:
        super().__init__("wrapped")
        self.orig = orig


@pytest.mark.parametrize(
    "error",
    [
        DatabaseUnavailableError("no connection"),
        ServerError("08006"),
        ServerError("57P01"),
        ServerError("53300"),
        ServerError("25006"),
        WrappedError(ServerError("57P03")),
    ],
)
def test_a_database_that_is_away_is_an_outage_of_no_event(error: Exception) -> None:
    failure = failure_of(error, is_away=False)
    assert failure == AWAY
    trouble = trouble_of(failure)
    assert trouble is not None
    assert trouble.is_unanswered
    assert failure_of(ValueError("a consequence"), is_away=True) == AWAY


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no order 7\nand more"), "ValueError: no order 7"),
        (ValueError(), "ValueError"),
        (ConnectionError("another service"), "ConnectionError: another service"),
        (FileNotFoundError(2, "No such file"), "FileNotFoundError: [Errno 2] No such file"),
        (ServerError("23505"), "tests.unit.eventflow_processor.target.function.test_results.ServerError: server"),
        (ServerError("40001"), "tests.unit.eventflow_processor.target.function.test_results.ServerError: server"),
        (SystemExit(3), "SystemExit: 3"),
    ],
)
def test_every_other_error_concerns_its_event_alone_and_counts(error: BaseException, text: str) -> None:
    failure = failure_of(error, is_away=False)
    assert (failure, failure.text) == (Failed(reason="handler_raised"), text)
    assert trouble_of(failure) is None


def test_the_text_of_a_failure_is_the_error_and_not_a_note_of_it() -> None:
    error = ValueError("no order 7")
    error.add_note("while reading the body")
    assert failure_of(error, is_away=False).text == "ValueError: no order 7"
    assert failure_of(SyntaxError("invalid", ("rules.py", 1, 1, "x y")), is_away=False).text == "SyntaxError: invalid"


def test_secrets_are_not_in_a_failure() -> None:
    failure = failure_of(ValueError("cannot log in with s3cret-word"), is_away=False, secrets=("s3cret-word",))
    assert failure.text == "ValueError: cannot log in with ***"


@pytest.mark.parametrize(
    ("error", "reason", "order"),
    [
        (RetryLater(5), "handler_deferred", Order.RETRY_LATER),
        (InboxLockedError("another processor"), "handler_deferred", Order.RETRY_LATER),
        (PublishTimeoutError("no confirm"), "handler_deferred", Order.RETRY_LATER),
    ],
)
def test_an_order_decides_also_while_the_database_is_away(error: Exception, reason: str, order: Order) -> None:
    for is_away in (False, True):
        failure = failure_of(error, is_away=is_away)
        assert (failure.reason, failure.order) == (reason, order)
        assert trouble_of(failure) is None


def test_an_event_is_rejected_unless_a_lost_database_may_be_the_reason() -> None:
    """A function may catch the error of a lost connection and reject its event."""
    rejected = failure_of(Reject("no such customer"), is_away=False)
    assert (rejected.reason, rejected.order, trouble_of(rejected)) == ("handler_rejected", Order.GIVE_UP, None)
    assert failure_of(Reject("no such customer"), is_away=True).detail == NO_DATABASE


def test_a_delay_below_zero_is_none() -> None:
    assert failure_of(RetryLater(-1), is_away=False).feedback.retry_after_s == 0.0


def test_a_timeout_counts_as_an_answered_one() -> None:
    trouble = trouble_of(too_late(30))
    assert trouble is not None
    assert not trouble.is_unanswered


def test_a_coroutine_that_is_not_awaited_is_named_and_closed() -> None:
    async def work() -> None: ...

    with pytest.raises(TypeError, match="declare the function itself `async`"):
        events_of(work(), ("orders",))
