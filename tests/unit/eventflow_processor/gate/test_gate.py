"""The gate and its breaker, with a clock of the test's own."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from eventflow.control.messages import BreakerClosed, BreakerOpened, Broadcast, Cause, ControlMessage, Pause
from eventflow.control.overrides import Overrides
from eventflow_processor.gate.breaker import OUTAGE_S, PROBER_SILENT_S, REFUSING_STATUSES
from eventflow_processor.gate.gate import PAUSE_MIN_S, Gate
from eventflow_processor.gate.verdict import Pass, Verdict
from eventflow_processor.target.feedback import Feedback
from eventflow_processor.target.result import Failed, Succeeded

NOW = datetime(2025, 7, 13, 21, 34, 44, tzinfo=UTC)
DOWN = Failed(reason="server_error", status=502)
REFUSED = Failed(reason="connection", reached=False, answered=False)
SILENT = Failed(reason="timeout", answered=False)
UNAUTHORIZED = Failed(reason="client_error", status=401)
OK = Succeeded(status=200)


def throttled(retry_after_s: float | None = None) -> Failed:
    return Failed(reason="throttled", status=429, asks_to_wait=True, feedback=Feedback(retry_after_s=retry_after_s))


def received(message: ControlMessage, *, sender: str) -> Broadcast:
    return Broadcast(flow="f", sender=sender, message=message)


@dataclass
class Bench:
    """Gates of one flow that receive each other's broadcasts."""

    now_s: float = 1000.0
    gates: dict[str, Gate] = field(default_factory=dict)
    sent: list[ControlMessage] = field(default_factory=list)

    def gate(self, name: str = "a", *, max_retry_after_s: float = 900) -> Gate:
        def broadcast(message: ControlMessage) -> None:
            self.sent.append(message)
            for peer, gate in self.gates.items():
                if peer != name:
                    gate.on_peer_message(received(message, sender=name))

        self.gates[name] = Gate(
            flow="f",
            instance=name,
            max_retry_after_s=max_retry_after_s,
            broadcast=broadcast,
            clock=lambda: self.now_s,
        )
        self.gates[name].apply_overrides(Overrides())
        return self.gates[name]


def fail(gate: Gate, *event_ids: str) -> list[Verdict]:
    return [gate.leave(event_id, DOWN, Pass.ATTEMPT) for event_id in event_ids]


def test_nothing_is_let_through_while_no_order_can_be_heard() -> None:
    """Reproduced on 0.1.0: a processor without its control connection went on through `pause` and lower rates."""
    gate = Bench().gate()
    assert gate.enter() is Pass.ATTEMPT
    gate.control_lost(is_lost=True)
    assert gate.enter() is None
    gate.control_lost(is_lost=False)
    assert gate.enter() is Pass.ATTEMPT


def test_the_breaker_opens_on_five_failures_of_three_events() -> None:
    gate = Bench().gate()
    fail(gate, "1", "2", "3", "1")
    assert not gate.is_breaker_open
    assert fail(gate, "2") == [Verdict.UNCOUNTED], "it may be the last attempt of its event"
    assert gate.is_breaker_open
    assert gate.enter() is None


@pytest.mark.parametrize("detail", ["no_token", "proxy_unreachable", "proxy_refused"])
def test_a_failure_in_which_no_event_has_a_part_never_counts(detail: str) -> None:
    """Even if others succeed in between: a failed connect would count then, because it may be the event's fault."""
    gate = Bench().gate()
    failed = Failed(reason="connection", detail=detail, reached=False, answered=False)
    for _ in range(20):
        assert gate.leave("1", failed, Pass.ATTEMPT) is Verdict.UNCOUNTED
        gate.leave("2", OK, Pass.ATTEMPT)
    for event_id in "34567":
        gate.leave(event_id, failed, Pass.ATTEMPT)
    assert gate.is_breaker_open


def test_poison_events_alone_never_open_it() -> None:
    gate = Bench().gate()
    assert set(fail(gate, *(["1", "2"] * 100))) == {Verdict.COUNTS}
    assert not gate.is_breaker_open


def test_a_success_between_starts_the_count_anew() -> None:
    gate = Bench().gate()
    for event_id in range(20):
        fail(gate, f"{event_id}a", f"{event_id}b", f"{event_id}c", f"{event_id}d")
        gate.leave("good", OK, Pass.ATTEMPT)
    assert not gate.is_breaker_open


def test_failures_of_the_events_own_do_not_open_it() -> None:
    gate = Bench().gate()
    for event_id in range(20):
        gate.leave(str(event_id), Failed(reason="client_error", status=404), Pass.ATTEMPT)
    assert not gate.is_breaker_open


def test_while_open_one_probe_at_a_time_after_growing_pauses_and_nothing_counts() -> None:
    bench = Bench()
    gate = bench.gate()
    fail(gate, "1", "2", "3", "4", "5")
    assert fail(gate, "late answer") == [Verdict.UNCOUNTED]
    pauses = []
    for number in range(9):
        began_s = bench.now_s
        while gate.enter() is None:
            bench.now_s += 0.5
        pauses.append(bench.now_s - began_s)
        assert gate.enter() is None, "one probe at a time"
        assert gate.leave(f"probe {number}", DOWN, Pass.PROBE) is Verdict.UNCOUNTED
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize("answer", [OK, Failed(reason="client_error", status=404), throttled()])
def test_a_probe_that_the_target_answers_for_itself_closes_it(answer: Succeeded | Failed) -> None:
    bench = Bench()
    gate = bench.gate()
    fail(gate, "1", "2", "3", "4", "5")
    bench.now_s += 1
    assert gate.enter() is Pass.PROBE
    gate.leave("probe", answer, Pass.PROBE)
    assert not gate.is_breaker_open


def test_an_event_alone_that_never_reaches_the_target_keeps_its_attempts() -> None:
    """Reproduced on 0.1.0: one event in a quiet flow was dead after 12 refused connections, in a single night."""
    bench = Bench()
    gate = bench.gate()
    for _ in range(20):
        assert gate.leave("alone", REFUSED, Pass.ATTEMPT) is Verdict.UNCOUNTED
        bench.now_s += 1


@pytest.mark.parametrize("failure", [DOWN, REFUSED, SILENT], ids=["502", "refused", "silent"])
def test_failures_of_a_single_event_are_an_outage_after_a_minute_without_a_success(failure: Failed) -> None:
    bench = Bench()
    gate = bench.gate()
    gate.leave("alone", failure, Pass.ATTEMPT)
    bench.now_s += OUTAGE_S - 1
    gate.leave("alone", failure, Pass.ATTEMPT)
    assert not gate.is_breaker_open
    bench.now_s += 1
    assert gate.leave("alone", failure, Pass.ATTEMPT) is Verdict.UNCOUNTED
    assert gate.is_breaker_open


@pytest.mark.parametrize(
    "answer", [OK, Failed(reason="client_error", status=422), Failed(reason="server_error", status=500)]
)
def test_an_answer_of_the_application_ends_the_minute(answer: Succeeded | Failed) -> None:
    bench = Bench()
    gate = bench.gate()
    for _ in range(10):
        gate.leave("poison", DOWN, Pass.ATTEMPT)
        bench.now_s += OUTAGE_S / 2
        gate.leave("other", answer, Pass.ATTEMPT)
        bench.now_s += OUTAGE_S / 2
    assert not gate.is_breaker_open


def test_a_poison_event_that_breaks_connections_counts_again_once_another_succeeds() -> None:
    bench = Bench()
    gate = bench.gate()
    verdicts = []
    for _ in range(4):
        verdicts.append(gate.leave("poison", REFUSED, Pass.ATTEMPT))
        gate.leave("other", OK, Pass.ATTEMPT)
    assert verdicts == [Verdict.UNCOUNTED, Verdict.COUNTS, Verdict.COUNTS, Verdict.COUNTS]


@pytest.mark.parametrize("status", sorted(REFUSING_STATUSES))
def test_a_status_that_everybody_gets_blocks_the_flow_and_costs_no_attempt(status: int) -> None:
    """eliza#17823: a token that had expired sent every event to the dead queue."""
    bench = Bench()
    one, two = bench.gate("a"), bench.gate("b")
    refusal = Failed(reason="client_error", status=status)
    verdicts = [one.leave(event_id, refusal, Pass.ATTEMPT) for event_id in ("1", "2", "3", "4")]
    assert verdicts == [Verdict.COUNTS, Verdict.COUNTS, Verdict.UNCOUNTED, Verdict.UNCOUNTED]
    assert [gate.cause for gate in (one, two)] == [Cause.BLOCKED, Cause.BLOCKED]
    bench.now_s += 1
    assert one.enter() is Pass.PROBE
    assert one.leave("probe", refusal, Pass.PROBE) is Verdict.UNCOUNTED
    assert one.is_breaker_open
    bench.now_s += 2
    assert one.enter() is Pass.PROBE
    one.leave("probe", OK, Pass.PROBE)
    assert [gate.cause for gate in (one, two)] == [None, None]


def test_refusals_of_one_event_or_beside_answers_that_are_none_do_not_block() -> None:
    gate = Bench().gate()
    for number in range(20):
        gate.leave("alone", UNAUTHORIZED, Pass.ATTEMPT)
        gate.leave(f"{number}", Failed(reason="client_error", status=422), Pass.ATTEMPT)
    assert not gate.is_breaker_open


def test_a_target_that_comes_back_and_refuses_one_event_is_up() -> None:
    bench = Bench()
    gate = bench.gate()
    fail(gate, "1", "2", "3", "4", "5")
    bench.now_s += 1
    assert gate.enter() is Pass.PROBE
    gate.leave("probe", UNAUTHORIZED, Pass.PROBE)
    assert not gate.is_breaker_open


def test_a_pause_of_a_success_without_room_is_stated_as_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    """Reproduced on 0.1.0: the log had 1.0 s, and the flow stood still for 900 s."""
    gate = Bench().gate(max_retry_after_s=900)
    gate.leave("e", throttled(1), Pass.ATTEMPT, no_room_s=1e9)
    assert gate.pause_s == 900
    assert "pause_s=900" in capsys.readouterr().out


def test_a_repeated_request_meets_the_gate_as_any_other() -> None:
    bench = Bench()
    gate = bench.gate()
    assert gate.is_open_to(Pass.ATTEMPT)
    gate.leave("other", throttled(6), Pass.ATTEMPT)
    assert not gate.is_open_to(Pass.ATTEMPT)
    bench.now_s += 6
    fail(gate, "1", "2", "3", "4", "5")
    assert not gate.is_open_to(Pass.ATTEMPT)
    bench.now_s += 1
    assert gate.enter() is Pass.PROBE
    assert gate.is_open_to(Pass.PROBE), "the gate is closed because of this probe"
    gate.apply_overrides(Overrides(is_paused=True))
    assert not gate.is_open_to(Pass.PROBE)


def test_a_prober_without_its_control_connection_leaves_probing_to_the_others() -> None:
    """Found by reading: it could not probe, announced every second that it did, and the flow stood still for good."""
    bench = Bench()
    one, two = bench.gate("a"), bench.gate("b")
    fail(one, "1", "2", "3", "4", "5")
    one.control_lost(True)
    entered = []
    for _ in range(int(PROBER_SILENT_S) + 2):
        bench.now_s += 1
        one.broadcast_state()
        entered.append(two.enter())
    assert Pass.PROBE in entered


def test_a_processor_that_cannot_attempt_does_not_announce_that_it_probes() -> None:
    bench = Bench()
    gate = bench.gate()
    fail(gate, "1", "2", "3", "4", "5")
    bench.sent.clear()
    gate.broadcast_state(can_attempt=False)
    assert not bench.sent


def test_asking_whether_the_gate_is_open_makes_no_prober() -> None:
    """Found by reading: each look at /readyz of an idle processor took the probing over."""
    bench = Bench()
    one, two = bench.gate("a"), bench.gate("b")
    fail(one, "1", "2", "3", "4", "5")
    del bench.gates["a"]
    bench.now_s += PROBER_SILENT_S
    bench.sent.clear()
    assert two.is_open, "it could take over"
    two.broadcast_state()
    assert not bench.sent


@pytest.mark.parametrize("has_overrides", [False, True])
def test_what_a_processor_knew_before_it_lost_its_control_connection_closes_no_peer(*, has_overrides: bool) -> None:
    """Found by reading: a prober that came back shut the gates of peers for which the target was up again."""
    bench = Bench()
    one, two = bench.gate("a"), bench.gate("b")
    fail(one, "1", "2", "3", "4", "5")
    if has_overrides:  # over its other connection
        one.peers_missed()
    else:
        one.control_lost(True)
    del bench.gates["a"]
    two.on_peer_message(received(BreakerClosed(), sender="c"))
    bench.gates["a"] = one
    if not has_overrides:
        one.control_lost(False)
    one.broadcast_state()
    assert two.is_open
    bench.now_s += 1
    assert one.enter() is Pass.PROBE
    one.leave("probe", DOWN, Pass.PROBE)
    one.broadcast_state()
    assert two.is_breaker_open, "its own probe has failed since"


def test_a_poison_event_that_shares_its_id_with_healthy_ones_counts() -> None:
    gate = Bench().gate()
    verdicts = []
    for _ in range(4):
        verdicts.append(gate.leave("same", REFUSED, Pass.ATTEMPT))
        gate.leave("same", OK, Pass.ATTEMPT)
    assert verdicts == [Verdict.UNCOUNTED, Verdict.COUNTS, Verdict.COUNTS, Verdict.COUNTS]


def test_peers_wait_while_one_probes_and_go_on_when_it_succeeds() -> None:
    bench = Bench()
    one, two = bench.gate("a"), bench.gate("b")
    fail(one, "1", "2", "3", "4", "5")
    assert two.is_breaker_open
    bench.now_s += 1
    assert two.enter() is None
    assert one.enter() is Pass.PROBE
    one.leave("probe", OK, Pass.PROBE)
    assert two.enter() is Pass.ATTEMPT


def test_a_silent_prober_is_replaced() -> None:
    bench = Bench()
    one, two = bench.gate("a"), bench.gate("b")
    fail(one, "1", "2", "3", "4", "5")
    del bench.gates["a"]
    bench.now_s += PROBER_SILENT_S
    assert two.enter() is None
    bench.now_s += 1
    assert two.enter() is Pass.PROBE


def test_of_two_probers_one_goes_on() -> None:
    bench = Bench()
    one, two = bench.gate("a"), bench.gate("b")
    muted, bench.gates = bench.gates, {}
    fail(one, "1", "2", "3", "4", "5")
    fail(two, "1", "2", "3", "4", "5")
    bench.gates = muted
    two.on_peer_message(received(BreakerOpened(), sender="a"))
    one.on_peer_message(received(BreakerOpened(), sender="b"))
    bench.now_s += 1
    assert (one.enter(), two.enter()) == (Pass.PROBE, None)


def test_a_throttled_target_is_left_alone_by_all_and_the_event_keeps_its_attempt() -> None:
    bench = Bench()
    one, two = bench.gate("a"), bench.gate("b")
    assert one.leave("e", throttled(7), Pass.ATTEMPT) is Verdict.DEFER
    assert (one.pause_s, two.pause_s) == (7, 7)
    bench.now_s += 6.9
    assert two.enter() is None
    bench.now_s += 0.2
    assert two.enter() is Pass.ATTEMPT


def test_a_pause_is_capped() -> None:
    gate = Bench().gate(max_retry_after_s=60)
    gate.leave("e", throttled(1e9), Pass.ATTEMPT)
    gate.on_peer_message(received(Pause(for_s=1e9), sender="b"))
    assert gate.pause_s == 60


@pytest.mark.parametrize(("retry_after_s", "max_retry_after_s"), [(0, 900), (None, 0), (5, 0)])
def test_a_refusal_is_at_least_a_short_pause_and_no_loop(retry_after_s: float | None, max_retry_after_s: float) -> None:
    """With `max_retry_after_s` 0, which is allowed, one event was sent 3 300 times a second."""
    gate = Bench().gate(max_retry_after_s=max_retry_after_s)
    gate.leave("e", throttled(retry_after_s), Pass.ATTEMPT)
    assert gate.pause_s == pytest.approx(PAUSE_MIN_S)
    assert gate.enter() is None


def test_an_event_deferred_three_times_while_others_succeed_counts_and_pauses_nobody() -> None:
    bench = Bench()
    gate = bench.gate()
    for _ in range(3):
        assert gate.leave("greedy", throttled(1), Pass.ATTEMPT) is Verdict.DEFER
        bench.now_s += 1
        gate.leave("other", OK, Pass.ATTEMPT)
    assert gate.leave("greedy", throttled(1), Pass.ATTEMPT) is Verdict.COUNTS
    assert gate.pause_s == 0


def test_a_target_that_throttles_everybody_costs_nobody_an_attempt() -> None:
    gate = Bench().gate()
    assert {gate.leave("e", throttled(), Pass.ATTEMPT) for _ in range(50)} == {Verdict.DEFER}


async def test_waiting_ends_when_a_peer_closes_the_breaker() -> None:
    gate = Bench().gate()
    gate.on_peer_message(received(BreakerOpened(), sender="b"))
    waiting = asyncio.create_task(gate.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    gate.on_peer_message(received(BreakerClosed(), sender="b"))
    async with asyncio.timeout(1):
        await waiting


async def test_it_stays_closed_until_it_is_known_that_no_operator_has_paused_the_flow() -> None:
    gate = Bench().gate()
    fresh = Gate(flow="f", instance="b", max_retry_after_s=900, broadcast=lambda _: None)
    assert gate.enter() is Pass.ATTEMPT
    assert fresh.enter() is None
    fresh.apply_overrides(Overrides(is_paused=True))
    assert fresh.enter() is None
    waiting = asyncio.create_task(fresh.wait())
    await asyncio.sleep(0)
    fresh.apply_overrides(Overrides())
    async with asyncio.timeout(1):
        await waiting
    assert fresh.enter() is Pass.ATTEMPT
