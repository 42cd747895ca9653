"""Internal errors in a row: when they block a flow, and when the flow continues."""

from eventflow_processor.gate.error_streak import TRY_PAUSE_MAX_S, ErrorStreak
from eventflow_processor.gate.verdict import Pass, Verdict
from eventflow_processor.target.result import Succeeded
from tests.unit.eventflow_processor.gate.test_gate import OK, Bench, fail

BUG = ValueError("secret")


def test_one_event_alone_blocks_nothing_however_often_it_raises() -> None:
    errors = ErrorStreak()
    assert [errors.failed("poison", BUG, now_s=0) for _ in range(20)] == list(range(1, 21))
    assert errors.blocked_by is None


def test_several_events_that_raise_between_others_that_do_not_block_nothing() -> None:
    errors = ErrorStreak()
    for number in range(20):
        errors.failed(f"poison-{number}", BUG, now_s=0)
        errors.failed(f"poison-{number + 1}", BUG, now_s=0)
        errors.ended_well()
    assert errors.blocked_by is None


def test_three_events_in_a_row_block_and_pauses_grow_to_their_bound() -> None:
    errors = ErrorStreak()
    for event_id in "123":
        errors.failed(event_id, BUG, now_s=0)
    assert errors.blocked_by == "ValueError"
    for event_id in "45678":  # were in flight already
        errors.failed(event_id, BUG, now_s=0.5)
    assert errors.closed_s(now_s=0) == 1
    now_s, pauses = 1.0, []
    for event_id in "90123":
        errors.failed(event_id, BUG, now_s=now_s)
        pauses.append(errors.closed_s(now_s=now_s))
        now_s += pauses[-1]
    assert pauses == [2, 4, 8, TRY_PAUSE_MAX_S, TRY_PAUSE_MAX_S]
    errors.ended_well()
    assert errors.blocked_by is None
    assert errors.closed_s(now_s=0) == 0


def test_a_blocked_gate_tries_one_event_at_a_time_and_tells_no_peer() -> None:
    bench = Bench()
    ours, peer = bench.gate("a"), bench.gate("b")
    for event_id in "123":
        ours.note_internal_error(event_id, BUG)
    assert ours.enter() is None
    assert peer.enter() is Pass.ATTEMPT
    bench.now_s += 1
    assert ours.enter() is Pass.PROBE
    assert ours.enter() is None, "one at a time"
    assert ours.leave("4", Succeeded(status=200), Pass.PROBE) is Verdict.COUNTS
    ours.ended_well()
    assert ours.enter() is Pass.ATTEMPT


def test_a_prober_that_is_blocked_leaves_probing_to_its_peers() -> None:
    bench = Bench()
    ours, peer = bench.gate("a"), bench.gate("b")
    fail(ours, "1", "2", "3", "4", "5")
    assert peer.is_breaker_open
    for event_id in "123":
        ours.note_internal_error(event_id, BUG)
    for _ in range(6):
        bench.now_s += 1
        ours.broadcast_state()
    assert peer.enter() is None, "it has just taken over"
    bench.now_s += 1
    assert peer.enter() is Pass.PROBE
    peer.leave("6", OK, Pass.PROBE)
    assert not ours.is_breaker_open
