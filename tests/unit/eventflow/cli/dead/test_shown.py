"""One dead letter as the command shows it."""

from typing import Any

import pytest

from eventflow.cli.dead.shown import facts_of
from eventflow.message import Envelope
from tests.support.cli import browsed, dead_letter


def test_unknown_values_are_left_out() -> None:
    assert "last status" not in dict(facts_of(browsed(Envelope(event=dead_letter("a").event))))


def test_the_queue_in_which_the_broker_moved_a_letter_is_shown() -> None:
    deaths = [{"reason": "expired", "queue": "eventflow.a.due"}]
    letter = browsed(dead_letter("a", reason="timeout"), {"x-death": deaths})
    assert dict(facts_of(letter))["given up by"].startswith("RabbitMQ in eventflow.a.due")


@pytest.mark.parametrize("deaths", [None, [], "x", [1], [{}], [{"reason": 1, "queue": "q"}], {"reason": "expired"}])
def test_an_odd_x_death_is_none(deaths: Any) -> None:
    assert "given up by" not in dict(facts_of(browsed(dead_letter("a", reason="timeout"), {"x-death": deaths})))
