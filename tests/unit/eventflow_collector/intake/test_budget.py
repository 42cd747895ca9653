"""The memory that requests hold, bounded."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from eventflow.event import Event, utc_now
from eventflow.extensions import EXTENSIONS_MAX_BYTES
from eventflow.forwarded import Forwarded
from eventflow_collector.intake.budget import EVENT_BYTES, ByteBudget, Reservation, event_bytes


@given(st.lists(st.integers(1, 50)))
def test_a_budget_is_never_exceeded_and_always_given_back(sizes: list[int]) -> None:
    budget = ByteBudget(100)
    held = []
    for size in sizes:
        fits = budget.held_bytes + size <= 100
        reservation = Reservation(budget)
        assert reservation.grow(size) is fits
        held.append((reservation, size if fits else 0))
        assert budget.held_bytes <= 100
    for reservation, size in held:
        release = reservation.split_off(size // 2)
        reservation.release()
        release()
    assert budget.held_bytes == 0


def test_events_that_take_more_than_the_budget_are_taken_while_nothing_else_is() -> None:
    budget = ByteBudget(100)
    alone, other = Reservation(budget), Reservation(budget)
    assert alone.grow(60)
    assert not alone.grow(60)
    assert alone.grow_for_events(4096)
    assert not other.grow(1)
    assert not other.grow_for_events(1)
    alone.release()
    assert other.grow(40)
    assert alone.grow(10)
    assert not alone.grow_for_events(51)
    other.release()
    assert alone.grow_for_events(4096)
    alone.release()
    assert budget.held_bytes == 0


def test_an_event_counts_with_its_long_attributes_and_forwarded_parts() -> None:
    now = utc_now()
    short = Event(id="i", source="/s", type="t", time=now, accepted_at=now, body=b"12345")
    assert event_bytes(short) == EVENT_BYTES + 5 + 2
    long = replace(
        short,
        source="s" * 100,
        subject="x" * 200,
        dataschema="d" * 300,
        extensions={"tag": "a"},
        forwarded=Forwarded("{" * 400),
    )
    assert event_bytes(long) == EVENT_BYTES + 5 + 1000 + EXTENSIONS_MAX_BYTES
