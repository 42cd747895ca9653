"""Dead letters for people and as JSON."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from eventflow.amqp.browser import Browsed
from eventflow.cli.dead.dead_letters import (
    Selection,
    facts_of,
    given_up_at,
    letters_per_read,
    reason_of,
    record_of,
    shown_body,
    shown_reason,
)
from eventflow.message import Envelope
from tests.support.cli import dead_letter


def browsed(envelope: Envelope, headers: dict[str, Any] | None = None) -> Browsed:
    return Browsed(envelope=envelope, headers=headers or {}, redelivered=False, tag=1)


def test_a_selection_has_the_letters_that_satisfy_every_condition() -> None:
    letter = browsed(dead_letter("a", reason="timeout"))
    died_at = given_up_at(letter)
    for kept in (
        Selection(),
        Selection(ids=frozenset({"a", "b"})),
        Selection(reasons=frozenset({"timeout"}), types=frozenset({"test.event"})),
        Selection(since=died_at, until=died_at + timedelta(seconds=1)),
    ):
        assert kept.has(letter)
    for left in (
        Selection(ids=frozenset({"b"})),
        Selection(reasons=frozenset({"redirect"})),
        Selection(reasons=frozenset({"timeout"}), types=frozenset({"order"})),
        Selection(until=died_at),
        Selection(since=died_at + timedelta(milliseconds=1)),
    ):
        assert not left.has(letter)


def test_a_failed_connection_is_selected_by_its_detail_too() -> None:
    envelope = dead_letter("a", reason="connection")
    assert envelope.failure is not None
    letter = browsed(replace(envelope, failure=replace(envelope.failure, detail="no_listener")))
    assert Selection(reasons=frozenset({"no_listener"})).has(letter)
    assert Selection(reasons=frozenset({"connection"})).has(letter)
    assert not Selection(reasons=frozenset({"reset"})).has(letter)


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
    assert "last status" not in dict(facts_of(browsed(foreign)))


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
    assert dict(facts_of(letter))["given up by"].startswith("RabbitMQ in eventflow.a.due")
    assert record_of(letter)["reason"] == "expired"


@pytest.mark.parametrize("deaths", [None, [], "x", [1], [{}], [{"reason": 1, "queue": "q"}], {"reason": "expired"}])
def test_an_odd_x_death_is_none(deaths: Any) -> None:
    letter = browsed(dead_letter("a", reason="timeout"), {"x-death": deaths})
    assert shown_reason(letter) == "timeout"
    assert "given up by" not in dict(facts_of(letter))


def test_dead_letters_that_are_read_together_have_at_most_64_mib_of_bodies() -> None:
    assert letters_per_read(1024 * 1024) == 64
    assert letters_per_read(128 * 1024 * 1024) == 1


def test_a_body_is_shown_as_what_it_is_and_cut() -> None:
    assert shown_body(b'{"a":[1]}', full=False) == json.dumps({"a": [1]}, indent=2)
    assert shown_body(b"\xff\x00", full=False) == "ff 00"
    assert shown_body(b"x" * 2500, full=False).endswith("\n... 500 more characters; --full shows all")
    assert shown_body(b"\xff" * 130, full=False).endswith("\n... 2 more bytes; --full shows all")
    assert shown_body(b"x" * 2500, full=True) == "x" * 2500
    assert shown_body(b"[" * 100_000, full=True) == "[" * 100_000
