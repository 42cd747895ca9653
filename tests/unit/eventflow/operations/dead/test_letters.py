"""Dead letters for people and as JSON."""

from datetime import UTC, datetime
from typing import Any

import pytest

from eventflow.message import Envelope
from eventflow.operations.dead.letters import given_up_at, reason_of, record_of, shown_reason
from eventflow.operations.dead.selection import Selection
from tests.support.cli import browsed, dead_letter


@pytest.mark.parametrize("moved_at", [datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 5, 1)])  # noqa: DTZ001
def test_a_letter_that_the_broker_moved_was_given_up_at_that_time(moved_at: datetime) -> None:
    deaths = [{"reason": "expired", "queue": "eventflow.a.events", "time": moved_at}]
    assert given_up_at(browsed(dead_letter("a"), {"x-death": deaths})) == datetime(2026, 5, 1, tzinfo=UTC)
    foreign = Envelope(event=dead_letter("a").event)
    assert given_up_at(browsed(foreign)) == foreign.event.accepted_at


def test_the_reason_is_ours_else_the_brokers_else_unknown() -> None:
    foreign = Envelope(event=dead_letter("a").event)
    assert reason_of(browsed(dead_letter("a", reason="timeout"), {"x-first-death-reason": "expired"})) == "timeout"
    rejected = {"x-death": [{"reason": "rejected", "queue": "eventflow.f.events"}]}
    assert reason_of(browsed(dead_letter("a", reason="timeout"), rejected)) == "too_large"
    assert reason_of(browsed(foreign, rejected)) == "too_large"
    assert reason_of(browsed(foreign, {"x-first-death-reason": "maxlen"})) == "maxlen"
    deaths = [{"reason": "rejected", "queue": "q"}, {"reason": "expired", "queue": "r"}]
    retried = browsed(dead_letter("a", reason="timeout"), {"x-first-death-reason": "expired", "x-death": deaths})
    assert reason_of(retried) == "too_large", "after a retry queue, whose copies expire"
    assert reason_of(browsed(foreign, {"x-death": ["nonsense"]})) == "unknown"
    assert reason_of(browsed(foreign)) == "unknown"
    assert record_of(browsed(foreign))["last_failed_at"] is None


def test_a_letter_that_the_broker_moved_is_given_up_by_it_even_if_attempts_failed_before() -> None:
    """Reproduced on 0.1.0: a retry that expired in a lane, under a policy, was shown as `timeout`."""
    deaths = [
        {"reason": "expired", "queue": "eventflow.a.due"},
        {"reason": "expired", "queue": "eventflow.a.retry.500"},
    ]
    letter = browsed(dead_letter("a", reason="timeout"), {"x-death": deaths, "x-first-death-reason": "expired"})
    assert reason_of(letter) == "expired"
    assert shown_reason(letter) == "expired (RabbitMQ)"
    assert Selection(reasons=frozenset({"expired"})).has(letter)
    assert record_of(letter)["reason"] == "expired"


@pytest.mark.parametrize("deaths", [None, [], "x", [1], [{}], [{"reason": 1, "queue": "q"}], {"reason": "expired"}])
def test_an_odd_x_death_is_none(deaths: Any) -> None:
    letter = browsed(dead_letter("a", reason="timeout"), {"x-death": deaths})
    assert shown_reason(letter) == "timeout"
