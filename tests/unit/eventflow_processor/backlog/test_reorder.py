"""Lateness of events that are delivered out of order."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from eventflow_processor.backlog.reorder import ENTRIES_MAX, RESOLUTION_S, Reorder


def test_events_in_order_are_not_late() -> None:
    reorder = Reorder()
    assert [reorder.delivered(accepted_s=n, now_s=100 + n) for n in range(50)] == [0.0] * 50


def test_a_retry_is_as_late_as_the_first_delivery_of_a_later_event() -> None:
    reorder = Reorder()
    for n in range(10):
        if n != 4:
            reorder.delivered(accepted_s=n, now_s=100 + n)
    assert reorder.delivered(accepted_s=4, now_s=160) == 160 - 105


def test_nothing_is_late_that_nothing_has_overtaken() -> None:
    reorder = Reorder()
    reorder.delivered(accepted_s=1, now_s=100)
    assert reorder.delivered(accepted_s=1, now_s=5000) == 0.0
    assert reorder.delivered(accepted_s=2, now_s=9000) == 0.0


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0, 2)), max_size=60))
def test_lateness_is_that_of_the_definition_within_the_resolution(steps: list[tuple[int, float]]) -> None:
    reorder, now_s = Reorder(), 0.0
    delivered: list[tuple[int, float]] = []
    for accepted_s, pause_s in steps:
        now_s += pause_s
        late_s = reorder.delivered(accepted_s=accepted_s, now_s=now_s)
        exact = now_s - min((at_s for other_s, at_s in delivered if other_s > accepted_s), default=now_s)
        assert exact <= late_s + 1e-9 <= exact + RESOLUTION_S + 2e-9
        delivered.append((accepted_s, now_s))


def test_memory_is_bounded_and_the_very_late_are_told_to_be_late() -> None:
    reorder = Reorder()
    for n in range(3 * ENTRIES_MAX):
        reorder.delivered(accepted_s=n, now_s=n)
    late_s = [reorder.delivered(accepted_s=accepted_s, now_s=3 * ENTRIES_MAX) for accepted_s in (0, 1, 2)]
    assert all(a == b for a, b in pairwise(late_s))
    assert late_s[0] >= ENTRIES_MAX / 2
