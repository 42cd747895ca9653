"""Selections of dead letters."""

from dataclasses import replace
from datetime import timedelta

from eventflow.operations.dead.letters import given_up_at
from eventflow.operations.dead.selection import Selection
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
