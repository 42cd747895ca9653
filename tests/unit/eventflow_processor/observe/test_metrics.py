"""Counts of attempts, and gauges that read the parts of a flow."""

import asyncio
import threading

import pytest

from eventflow.control.messages import Ignored
from eventflow.control.overrides import Overrides
from eventflow.outcome import DeadLetter, Defer, Delivered, Hold, Outcome, Retry
from eventflow.telemetry.metrics import exposition_of
from eventflow_processor.gate.gate import Gate
from eventflow_processor.gate.verdict import Pass
from eventflow_processor.observe.metrics import FlowMetrics, ProcessorMetrics
from eventflow_processor.quota.quota import Quota
from eventflow_processor.target.result import Errored, Failed, Result
from tests.support.attempts import attempted, failed_envelope

UNAUTHORIZED = Failed(reason="client_error", status=401)


@pytest.fixture
def metrics() -> ProcessorMetrics:
    return ProcessorMetrics()


@pytest.fixture
def flow(metrics: ProcessorMetrics) -> FlowMetrics:
    return metrics.bind("f")


def value(metrics: ProcessorMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"eventflow_{name}", {"flow": "f", **labels})


@pytest.mark.parametrize(
    ("outcome", "label"),
    [
        (Delivered(), "delivered"),
        (Retry(envelope=failed_envelope(), delay_s=1), "retry"),
        (Defer(delay_s=1), "defer"),
        (Hold(), "defer"),
        (DeadLetter(envelope=failed_envelope()), "dead"),
    ],
)
def test_every_outcome_counts_one_attempt(
    metrics: ProcessorMetrics, flow: FlowMetrics, outcome: Outcome, label: str
) -> None:
    flow.attempted(attempted(outcome))
    flow.refresh()
    counts = {word: value(metrics, "attempts_total", outcome=word) for word in ("delivered", "retry", "defer", "dead")}
    assert counts == {"delivered": 0, "retry": 0, "defer": 0, "dead": 0, label: 1}
    assert value(metrics, "events_delivered_total") == counts["delivered"]


def test_a_failure_counts_by_its_reason_whatever_its_outcome(metrics: ProcessorMetrics, flow: FlowMetrics) -> None:
    refused = Failed(reason="throttled", status=429, asks_to_wait=True)
    flow.attempted(attempted(Hold(), result=refused))
    flow.attempted(attempted(None, result=refused))
    assert value(metrics, "attempts_failed_total", reason="throttled", detail="") == 2
    assert value(metrics, "throttled_total") == 2
    flow.attempted(attempted(Retry(envelope=failed_envelope(), delay_s=1), result=UNAUTHORIZED))
    assert value(metrics, "events_retried_total", reason="server_error") == 1


@pytest.mark.parametrize(("result", "answers"), [(None, 1), (UNAUTHORIZED, 1), (Errored(error=OSError()), 0)])
def test_the_time_of_an_attempt_is_that_of_an_answer(
    metrics: ProcessorMetrics, flow: FlowMetrics, result: Result | None, answers: int
) -> None:
    flow.attempted(attempted(Delivered(), result=result, duration_s=0.25))
    assert value(metrics, "attempt_seconds_sum") == 0.25 * answers


async def test_gauges_read_gate_and_quota_as_they_are_now(metrics: ProcessorMetrics, flow: FlowMetrics) -> None:
    gate = Gate(flow="f", instance="a", max_retry_after_s=900, broadcast=lambda _: None)
    quota = Quota(flow="f", instance="i", rate_per_s=10, burst=1, cost=1, broadcast=lambda _: None)
    flow.follow(gate=gate, quota=quota, held=lambda: 7, in_flight=lambda: 3)
    await metrics.refresh()
    assert (value(metrics, "held_events"), value(metrics, "in_flight")) == (7, 3)
    assert (value(metrics, "rate_limit_units_per_second"), value(metrics, "rate_share_units_per_second")) == (10, 0)
    assert (value(metrics, "breaker_open"), value(metrics, "blocked")) == (0, 0)
    gate.apply_overrides(Overrides())
    for event_id in "123":
        gate.leave(event_id, UNAUTHORIZED, Pass.ATTEMPT)
    await metrics.refresh()
    assert (value(metrics, "breaker_open"), value(metrics, "blocked")) == (1, 1)


async def test_errors_of_our_own_block_a_flow_without_an_open_breaker(
    metrics: ProcessorMetrics, flow: FlowMetrics
) -> None:
    gate = Gate(flow="f", instance="a", max_retry_after_s=900, broadcast=lambda _: None)
    quota = Quota(flow="f", instance="i", rate_per_s=None, burst=1, cost=1, broadcast=lambda _: None)
    flow.follow(gate=gate, quota=quota, held=lambda: 0, in_flight=lambda: 0)
    for event_id in "123":
        gate.note_internal_error(event_id, OSError())
    await metrics.refresh()
    assert (value(metrics, "breaker_open"), value(metrics, "blocked")) == (0, 1)


async def test_what_gauges_follow_is_read_on_the_event_loop_and_not_on_the_thread_of_the_exposition(
    metrics: ProcessorMetrics, flow: FlowMetrics
) -> None:
    """Counted on the other thread, the attempts in flight failed one exposition in 200: the set changed meanwhile."""
    threads: set[int] = set()

    def read() -> float:
        threads.add(threading.get_ident())
        return 1.0

    gate = Gate(flow="f", instance="a", max_retry_after_s=900, broadcast=lambda _: None)
    quota = Quota(flow="f", instance="i", rate_per_s=None, burst=1, cost=1, broadcast=lambda _: None)
    flow.follow(gate=gate, quota=quota, held=read, in_flight=read)
    await metrics.refresh()
    await asyncio.to_thread(exposition_of(metrics.registry), "")
    assert threads == {threading.get_ident()}


def test_every_reason_to_ignore_a_message_rises_from_0(metrics: ProcessorMetrics) -> None:
    metrics.count_ignored(Ignored.MALFORMED)
    name = "eventflow_control_messages_ignored_total"
    counts = {reason: metrics.registry.get_sample_value(name, {"reason": reason.value}) for reason in Ignored}
    assert counts == {Ignored.TOO_LARGE: 0, Ignored.MALFORMED: 1, Ignored.UNKNOWN_KIND: 0}
