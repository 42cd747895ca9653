"""The decisions of the sandbox's target, and its records."""

import hashlib
from http import HTTPStatus

import pytest

from sandbox.target.answers import Target
from sandbox.target.behaviour import Behaviour, Mode
from sandbox.target.ledger import Ledger, Receipt


def receipt(event_id: str, *, status: int = 200, at_s: float = 0.0, attempt: int = 1, body: bytes = b"{}") -> Receipt:
    return Receipt(
        event_id=event_id,
        at_s=at_s,
        status=status,
        attempt=attempt,
        body_bytes=len(body),
        body_sha256=hashlib.sha256(body).digest(),
    )


def still(behaviour: Behaviour) -> Target:
    """A target for which no time passes."""
    return Target(behaviour, clock=lambda: 0.0)


def test_what_does_not_fit_the_bucket_is_throttled_for_at_least_a_second() -> None:
    target = still(Behaviour(rate=100, burst=2))
    answers = [target.decide("a") for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[2].retry_after_s == 1


def test_retry_after_is_rounded_up() -> None:
    target = still(Behaviour(rate=0.4, burst=1))
    target.decide("a")
    assert target.decide("a").retry_after_s == 3


def test_a_request_that_costs_more_units_fits_less_often() -> None:
    target = still(Behaviour(rate=100, burst=1000, cost=50))
    statuses = [target.decide("a").status for _ in range(21)]
    assert statuses == [200] * 20 + [429]
    assert target.call_limit() == "1000/1000"


def test_a_strict_target_refuses_what_exceeds_rate_and_burst_in_a_second() -> None:
    now_s = 0.0
    target = Target(Behaviour(mode=Mode.STRICT, rate=5, burst=1), clock=lambda: now_s)
    assert [target.decide("a").status for _ in range(7)] == [200] * 6 + [429]
    now_s = 0.9
    assert target.decide("a").retry_after_s == 1
    now_s = 1.0
    assert target.decide("a").status == HTTPStatus.OK
    assert target.call_limit() is None, "it has no bucket to tell of"


def test_another_mode_starts_anew_and_another_rate_does_not() -> None:
    target = still(Behaviour(rate=1, burst=2))
    for _ in range(2):
        target.decide("a")
    target.change({"rate": 2})
    assert target.decide("a").status == HTTPStatus.TOO_MANY_REQUESTS
    target.change({"mode": "strict"})
    assert target.decide("a").status == HTTPStatus.OK


def test_an_outage_refuses_everything_and_fills_no_bucket() -> None:
    target = still(Behaviour(rate=1, burst=1, outage=True))
    assert {target.decide("a").status for _ in range(10)} == {HTTPStatus.SERVICE_UNAVAILABLE}
    target.change({"outage": False})
    assert target.decide("a").status == HTTPStatus.OK


def test_a_poisoned_id_fails_and_others_do_not() -> None:
    target = Target(Behaviour(rate=0, fail_ids=frozenset({"poison"})))
    assert target.decide("poison").status == HTTPStatus.INTERNAL_SERVER_ERROR
    assert target.decide("other").status == HTTPStatus.OK


def test_failures_come_in_their_ratio_and_the_same_for_a_seed() -> None:
    def statuses() -> list[int]:
        target = Target(Behaviour(rate=0, failure_ratio=0.3), seed=7)
        return [target.decide("a").status for _ in range(1_000)]

    assert statuses() == statuses()
    assert 250 < sum(status >= 500 for status in statuses()) < 350


@pytest.mark.parametrize(
    "changes",
    [
        {"burst": 0},
        {"burst": 10, "cost": 11},
        {"mode": "strict", "rate": 5, "burst": 1, "cost": 7},
        {"rate": -1},
        {"failure_ratio": 2},
        {"latency_s": "soon"},
        {"mode": "fuzzy"},
        {"colour": "green"},
        {"rate": float("nan")},
    ],
)
def test_a_behaviour_that_makes_no_sense_is_refused_and_changes_nothing(changes: dict[str, object]) -> None:
    target = Target()
    with pytest.raises(ValueError, match=next(iter(changes))):
        target.change(changes)
    assert target.behaviour == Behaviour()


def test_duplicates_are_accepted_receipts_beyond_the_first_of_each_id() -> None:
    ledger = Ledger()
    for event_id, status in [("a", 503), ("a", 200), ("b", 200), ("b", 200), ("b", 204), ("c", 429)]:
        ledger.arrive(0.0)
        ledger.record(receipt(event_id, status=status))
    summary = ledger.summary()
    assert (summary["received"], summary["accepted"], summary["throttled"], summary["failed"]) == (6, 4, 1, 1)
    assert (summary["distinct_ids_accepted"], summary["duplicates"]) == (2, 2)
    assert {row["id"]: row["accepted"] for row in ledger.ids()} == {"a": 1, "b": 3, "c": 0}


def test_receipts_keep_attempt_size_and_digest() -> None:
    ledger = Ledger()
    ledger.record(receipt("a", attempt=3, body=b"hello"))
    ledger.record(receipt("b", body=b""))
    first, second = ledger.receipts()
    assert (first["id"], first["attempt"], first["body_bytes"]) == ("a", 3, 5)
    assert first["body_sha256"] == hashlib.sha256(b"hello").hexdigest()
    assert second["body_sha256"] == hashlib.sha256(b"").hexdigest()


def test_rate_is_judged_by_arrivals_throttled_ones_too() -> None:
    ledger = Ledger()
    for at_s in (0.0, 0.01, 0.02, 0.5, 5.0):
        ledger.arrive(at_s)
    assert ledger.summary()["max_in_window"] == {"0.1": 3, "1": 4, "10": 5}


def test_arrivals_are_told_from_a_moment_on() -> None:
    ledger = Ledger()
    for at_s in (1.0, 2.0, 2.5):
        ledger.arrive(at_s)
    assert ledger.arrivals_s(after_s=1.0) == [2.0, 2.5]


def test_a_full_ledger_says_so_and_goes_on_counting() -> None:
    ledger = Ledger(max_receipts=2)
    for event_id in "abc":
        ledger.arrive(0.0)
        ledger.record(receipt(event_id))
    summary = ledger.summary()
    assert summary["truncated"]
    assert summary["accepted"] == 3
    assert summary["distinct_ids_accepted"] == 2
