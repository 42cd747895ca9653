"""The consequence of each outcome of a publish for its row."""

from dataclasses import dataclass

import pytest

from eventflow.errors import (
    BrokerUnavailableError,
    EventFlowError,
    HeadersTooLargeError,
    InvalidEventError,
    MessageTooLargeError,
    PublishRefusedError,
    UnroutableError,
)
from eventflow_relay.judgement import (
    PAUSES_S,
    Confirmed,
    FlowRefused,
    InternalRowError,
    RowFailed,
    Unknown,
    judge,
)


@dataclass
class Ended:
    """A publish with an outcome."""

    error: EventFlowError | None = None
    is_confirmed: bool = False


TOO_LARGE = MessageTooLargeError(body_bytes=2, max_bytes=1)


def test_only_a_confirm_deletes_a_row() -> None:
    assert judge(Ended(is_confirmed=True), tries=0, max_tries=1) == Confirmed()


@pytest.mark.parametrize("error", [None, BrokerUnavailableError("gone")])
def test_a_row_stays_as_it_is_while_the_broker_has_not_answered(error: EventFlowError | None) -> None:
    assert judge(Ended(error), tries=9, max_tries=1) == Unknown()


def test_a_nack_concerns_the_queue_and_never_parks_a_row() -> None:
    assert judge(Ended(PublishRefusedError("nack")), tries=99, max_tries=1) == FlowRefused()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UnroutableError("there is no such queue"), "unroutable"),
        (TOO_LARGE, "too_large"),
        (HeadersTooLargeError(header_bytes=2, max_bytes=1), "too_large"),
        (InternalRowError("an internal error: KeyError"), "internal"),
    ],
)
def test_a_reason_of_the_row_is_tried_again_after_growing_pauses_and_then_parks_it(
    error: EventFlowError, reason: str
) -> None:
    judged = [judge(Ended(error), tries=tries, max_tries=9) for tries in range(9)]
    assert [each.pause_s for each in judged if isinstance(each, RowFailed)] == [
        *(1, 2, 4, 8, 16, 32, 60, 60),
        None,
    ]
    assert {(each.reason, each.error) for each in judged if isinstance(each, RowFailed)} == {(reason, str(error))}


def test_the_pause_of_a_row_with_any_number_of_tries_is_bounded() -> None:
    judged = judge(Ended(TOO_LARGE), tries=2_000, max_tries=10_000)
    assert judged == RowFailed(reason="too_large", error=str(TOO_LARGE), pause_s=PAUSES_S[-1])


def test_a_row_that_is_no_event_is_parked_at_once() -> None:
    judged = judge(Ended(InvalidEventError("id must be short")), tries=0, max_tries=10)
    assert judged == RowFailed(reason="invalid", error="id must be short", pause_s=None)
