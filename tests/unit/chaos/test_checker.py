"""The checker of the chaos suite: what it calls lost, unexpected, recovered and a duplicate."""

from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.checker import History, check, longest_gap_s

IDS = st.sets(st.sampled_from("abcdefgh"))
COUNTS = st.dictionaries(st.sampled_from("abcdefghxy"), st.integers(1, 3))


def history(**changes: object) -> History:
    nothing = {"accepted": set(), "unaccepted": set(), "delivered": {}, "dead": {}, "waiting": {}}
    return History(**nothing | changes)  # type: ignore[arg-type]


def test_an_accepted_event_is_kept_wherever_it_is() -> None:
    verdict = check(history(accepted={"a", "b", "c"}, delivered={"a": 1}, dead={"b": 1}, waiting={"c": 1}))
    assert verdict.holds
    assert (verdict.accepted, verdict.delivered, verdict.dead, verdict.waiting) == (3, 1, 1, 1)
    assert verdict.duplicates == 0


def test_an_accepted_event_that_is_nowhere_is_lost() -> None:
    verdict = check(history(accepted={"a", "b"}, delivered={"a": 2}))
    assert verdict.lost == {"b"}
    assert not verdict.holds


def test_an_event_that_was_not_accepted_may_be_missing_or_recovered() -> None:
    verdict = check(history(unaccepted={"a", "b"}, delivered={"a": 1}))
    assert verdict.recovered == {"a"}
    assert verdict.holds


def test_an_event_that_nobody_sent_is_unexpected() -> None:
    verdict = check(history(accepted={"a"}, delivered={"a": 1}, dead={"z": 1}))
    assert verdict.unexpected == {"z"}
    assert not verdict.holds


def test_every_further_copy_is_a_duplicate_wherever_it_is() -> None:
    verdict = check(history(accepted={"a", "b"}, delivered={"a": 3, "b": 1}, waiting={"b": 1}))
    assert verdict.duplicates == 3
    assert verdict.duplicates_share == 1.5
    assert verdict.holds


def test_an_answer_that_nobody_heard_is_no_delivery_and_makes_the_next_one_a_duplicate() -> None:
    assert check(history(accepted={"a"}, unheard={"a": 1})).lost == {"a"}
    assert check(history(accepted={"a"}, unheard={"a": 1}, delivered={"a": 1})).duplicates == 1


def test_a_delivery_that_is_never_settled_breaks_the_promise() -> None:
    assert not check(history(accepted={"a"}, delivered={"a": 1}, waiting={"a": 1}, unsettled=1)).holds


@given(accepted=IDS, unaccepted=IDS, delivered=COUNTS, dead=COUNTS, waiting=COUNTS)
def test_every_event_is_accounted_for_once(accepted, unaccepted, delivered, dead, waiting) -> None:
    unaccepted = unaccepted - accepted
    verdict = check(History(accepted=accepted, unaccepted=unaccepted, delivered=delivered, dead=dead, waiting=waiting))
    found = delivered.keys() | dead.keys() | waiting.keys()
    assert verdict.lost | (accepted & found) == accepted
    assert verdict.recovered | verdict.unexpected | (accepted & found) == found
    assert not verdict.lost & found
    copies = sum(delivered.values()) + sum(dead.values()) + sum(waiting.values())
    assert verdict.duplicates == copies - len(found)


def test_the_longest_gap_is_between_neighbours_in_time() -> None:
    assert longest_gap_s([5.0, 1.0, 2.0]) == 3.0
    assert longest_gap_s([1.0]) == 0.0
