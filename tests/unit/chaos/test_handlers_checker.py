"""The checker of handlers: what it calls a lost or doubled effect, and a lost, early or repeated event."""

from tests.chaos.handlers.checker import Ledger, check


def ledger(**changes: object) -> Ledger:
    sound = {
        "accepted": {"a", "b"},
        "unaccepted": set(),
        "effects": {"a": 1, "b": 1},
        "unhandled": {},
        "put": set(),
        "emitted": {"a/0": 1, "b/0": 1},
        "unsent": {},
    }
    return Ledger(**sound | changes)  # type: ignore[arg-type]


def test_one_effect_and_one_emitted_event_for_each_event_is_sound() -> None:
    verdict = check(ledger())
    assert verdict.is_sound
    assert (verdict.accepted, verdict.effects, verdict.emitted, verdict.repeats) == (2, 2, 2, {})


def test_an_accepted_event_without_an_effect_is_lost() -> None:
    verdict = check(ledger(effects={"a": 1}, emitted={"a/0": 1}))
    assert verdict.effects_lost == {"b"}
    assert not verdict.is_sound


def test_an_event_that_is_still_queued_is_left_and_not_lost() -> None:
    verdict = check(ledger(effects={"a": 1}, emitted={"a/0": 1}, unhandled={"b": 1}))
    assert (verdict.effects_lost, verdict.left) == (frozenset(), 1)
    assert not verdict.is_sound


def test_a_second_effect_of_an_event_is_doubled() -> None:
    verdict = check(ledger(effects={"a": 2, "b": 1}))
    assert verdict.effects_doubled == {"a"}
    assert not verdict.is_sound


def test_an_effect_without_its_emitted_event_is_a_loss() -> None:
    verdict = check(ledger(emitted={"a/0": 1}))
    assert verdict.emitted_lost == {"b/0"}
    assert not verdict.is_sound


def test_an_emitted_event_without_its_effect_is_unexpected() -> None:
    verdict = check(ledger(effects={"a": 1}, unhandled={"b": 1}))
    assert verdict.emitted_unexpected == {"b/0"}
    assert not verdict.is_sound


def test_an_event_that_a_program_has_put_is_expected_too() -> None:
    assert check(ledger(put={"late"})).emitted_lost == {"late"}
    assert check(ledger(put={"late"}, emitted={"a/0": 1, "b/0": 1, "late": 1})).is_sound


def test_repeats_of_emitted_events_are_counted_by_id_and_allowed() -> None:
    verdict = check(ledger(emitted={"a/0": 3, "b/0": 1}))
    assert verdict.is_sound
    assert verdict.repeats == {"a/0": 2}
    assert verdict.repeats_share == 1.0


def test_an_event_that_was_not_accepted_may_take_effect_and_one_that_was_not_sent_may_not() -> None:
    both = {"effects": {"a": 1, "b": 1, "c": 1}, "emitted": {"a/0": 1, "b/0": 1, "c/0": 1}}
    assert check(ledger(unaccepted={"c"}, **both)).is_sound
    assert check(ledger(**both)).effects_unexpected == {"c"}
