"""Selections of dead letters, and times as an operator writes them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from eventflow.errors import InvalidInputError
from eventflow.event import utc_now
from eventflow.operations.dead.letters import given_up_at
from eventflow.operations.dead.selection import Selection, moment_of
from tests.support.cli import browsed, dead_letter


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


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-28", datetime(2026, 11, 28, tzinfo=UTC)),
        ("2026-11-28T02:00", datetime(2026, 11, 28, 2, tzinfo=UTC)),
        ("2026-11-28T02:00Z", datetime(2026, 11, 28, 2, tzinfo=UTC)),
        ("2026-11-28 02:00:03", datetime(2026, 11, 28, 2, 0, 3, tzinfo=UTC)),
        ("2026-11-28T02:00:00+01:00", datetime(2026, 11, 28, 1, tzinfo=UTC)),
        ("2026-11-28T02:00:00.123Z", datetime(2026, 11, 28, 2, 0, 0, 123_000, tzinfo=UTC)),
    ],
)
def test_times_without_a_zone_are_utc(text: str, moment: datetime) -> None:
    assert moment_of(text) == moment


@pytest.mark.parametrize(
    ("text", "ago"), [("90s", timedelta(seconds=90)), ("30m", timedelta(minutes=30)), ("2d", timedelta(days=2))]
)
def test_a_duration_is_a_time_ago(text: str, ago: timedelta) -> None:
    assert abs(utc_now() - ago - moment_of(text)) < timedelta(seconds=5)


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-13-01", "2026-11-28T25:00", "5 m", "1y", "999999d", "2026-11-28T02"]
)
def test_anything_else_is_no_time(text: str) -> None:
    with pytest.raises(InvalidInputError, match="2026-11-28T02:00"):
        moment_of(text)
