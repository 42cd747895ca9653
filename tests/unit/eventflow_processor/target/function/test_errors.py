"""Errors of a function as failures of its attempt."""

from eventflow.errors import DatabaseUnavailableError, NoTransactionError
from eventflow.handling.orders import Reject
from eventflow.network.failure import NO_DATABASE
from eventflow_processor.target.function.results import failure_of
from eventflow_processor.target.result import Order


def test_a_reason_that_is_no_text_rejects_the_event_all_the_same() -> None:
    """`raise Reject(error)` was an internal error, after which the flow stood still."""
    failure = failure_of(Reject(ValueError("no such article")), is_away=False, secrets=["secret"])  # type: ignore[arg-type]
    assert (failure.reason, failure.text, failure.order) == ("handler_rejected", "no such article", Order.GIVE_UP)


def test_a_put_outside_of_a_transaction_is_a_fault_of_the_function_and_no_outage() -> None:
    assert failure_of(NoTransactionError("none is open"), is_away=False).reason == "handler_raised"
    assert failure_of(DatabaseUnavailableError("it is away"), is_away=False).detail == NO_DATABASE
