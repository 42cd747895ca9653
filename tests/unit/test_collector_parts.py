"""The collector's pure parts: what makes an event of a request, and the bytes that are held."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from collector.budget import ByteBudget, Reservation
from collector.intake import ID_HEADERS, is_known_key, read_event
from eventflow.errors import InvalidEventError


def event_of(**headers: str):
    renamed = {name.replace("_", "-"): value for name, value in headers.items()}
    return read_event(flow="f", headers=CIMultiDict(renamed), body=b"x")


def test_the_first_id_that_is_there_counts() -> None:
    headers = CIMultiDict({name: f"from-{name}" for name in ID_HEADERS})
    for name in ID_HEADERS:
        assert read_event(flow="f", headers=headers, body=b"").id == f"from-{name}"
        del headers[name]
    assert read_event(flow="f", headers=headers, body=b"").id.count("-") == 4


def test_the_senders_time_is_kept_and_its_absence_means_now() -> None:
    assert event_of(ce_time="2025-07-13T23:34:44+02:00").time == datetime(2025, 7, 13, 21, 34, 44, tzinfo=UTC)
    event = event_of()
    assert event.time == event.accepted_at


@pytest.mark.parametrize("value", ["", " ", "x" * 256, "ü" * 128, "a\tb", "\udcff", "\x00"])
@pytest.mark.parametrize("header", [*ID_HEADERS, "Content-Type", "ce-type", "ce-source"])
def test_an_attribute_that_cannot_travel_is_refused_by_name(header: str, value: str) -> None:
    with pytest.raises(InvalidEventError, match=header):
        read_event(flow="f", headers=CIMultiDict({header: value}), body=b"")


def test_a_broken_trace_context_is_ignored() -> None:
    assert event_of(traceparent="nonsense").traceparent is None


def test_keys_match_exactly() -> None:
    keys = (b"one", b"two")
    assert is_known_key("one", keys)
    assert is_known_key("two", keys)
    for given_key in (None, "", "on", "one ", "ONE", "\udcff"):
        assert not is_known_key(given_key, keys)


@given(st.lists(st.integers(1, 50)))
def test_a_budget_is_never_exceeded_and_always_given_back(sizes: list[int]) -> None:
    budget = ByteBudget(100)
    held = []
    for size in sizes:
        fits = budget.held_bytes + size <= 100
        reservation = Reservation(budget)
        assert reservation.grow(size) is fits
        held.append(reservation)
        assert budget.held_bytes <= 100
    for reservation in held:
        release = reservation.hand_over()
        reservation.release()
        release()
        release()
    assert budget.held_bytes == 0
