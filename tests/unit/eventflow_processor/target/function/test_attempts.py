"""Attempts that end in unusual ways: each has a result unless it is abandoned, and none costs a thread."""

import asyncio
import threading
from typing import Any

import pytest
from prometheus_client import Counter, Gauge

from eventflow.handling.derived import DerivedEvent
from eventflow.handling.loading import Function
from eventflow.message import Envelope
from eventflow.outbox.new_event import new_event
from eventflow_processor.target.function import emission
from eventflow_processor.target.function.asynchronous import AsyncAttempt
from eventflow_processor.target.function.calls import Calls
from eventflow_processor.target.function.emission import Emissions, Publishing, ThreadEmissions
from eventflow_processor.target.function.loop_watch import LoopWatch
from eventflow_processor.target.function.metrics import FunctionMetrics
from eventflow_processor.target.function.threaded import ThreadAttempt
from eventflow_processor.target.function.workers import Workers
from eventflow_processor.target.result import Errored, Failed, Result, Succeeded

ENVELOPE = Envelope(event=new_event(type="order.paid"))


class Unconfirmed(Publishing):
    """A publish that the broker never confirms."""

    async def confirmed(self, *, timeout_s: float) -> None:
        await asyncio.Event().wait()


def calls_of(call: Any, *, timeout_s: float = 5.0) -> Calls:
    return Calls(
        flow="orders",
        flows=["orders", "notify"],
        function=Function(call=call, is_async=asyncio.iscoroutinefunction(call), file=__file__),
        timeout_s=timeout_s,
        secrets=(),
        metrics=FunctionMetrics(
            skipped=Counter("skipped", "-", registry=None),
            overrun=Gauge("overrun", "-", registry=None),
            loop_blocked=Counter("blocked", "-", registry=None),
        ),
    )


def publish(event: DerivedEvent) -> Publishing:
    return Unconfirmed()


async def test_any_exception_of_a_function_is_its_failure_and_leaves_its_thread() -> None:
    """`asyncio.CancelledError`, and the timeouts of several libraries, are no `Exception`. Each one cost a thread."""
    raised: list[type[BaseException]] = [asyncio.CancelledError, GeneratorExit, KeyboardInterrupt]

    def handle(event: object, context: object) -> None:
        if raised:
            raise raised.pop()

    workers, transactions = Workers(threads_max=1, name="handler"), ThreadEmissions(publish)
    results: list[Result] = []
    for _ in range(4):
        await ThreadAttempt(calls_of(handle), transactions, workers, ENVELOPE, results.append).begin()
    workers.end()
    assert [result.reason for result in results if isinstance(result, Failed)] == ["handler_raised"] * 3
    assert isinstance(results[3], Succeeded)


async def test_a_call_for_which_no_thread_can_be_started_is_not_made_later() -> None:
    """Its event gets another attempt, and the function would be called for both."""
    events: list[object] = []

    def handle(event: object, context: object) -> None:
        events.append(event)

    workers, transactions = Workers(threads_max=1, name="handler"), ThreadEmissions(publish)
    results: list[Result] = []
    threading.stack_size(1 << 47)  # no machine has as much memory
    try:
        await ThreadAttempt(calls_of(handle), transactions, workers, ENVELOPE, results.append).begin()
    finally:
        threading.stack_size(0)
    await ThreadAttempt(calls_of(handle), transactions, workers, ENVELOPE, results.append).begin()
    workers.end()
    assert [type(result) for result in results] == [Errored, Succeeded]
    assert len(events) == 1


async def test_an_attempt_that_is_abandoned_at_once_has_no_deadline() -> None:
    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))

    async def handle(event: object, context: object) -> None:
        raise AssertionError("it was abandoned")

    results: list[Result] = []
    calls = calls_of(handle, timeout_s=0.01)
    attempt = AsyncAttempt(calls, Emissions(publish), LoopWatch(), ENVELOPE, results.append)
    task = attempt.begin()
    attempt.abandon()
    await asyncio.wait({task})
    await asyncio.sleep(0.05)  # past the deadline, at which nothing may happen
    assert (results, errors) == ([], [])


async def test_a_broker_that_confirms_late_is_no_database_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emission, "CONFIRM_MAX_S", 0.01)

    async def handle(event: object, context: Any) -> DerivedEvent:
        derived: DerivedEvent = context.derive(type="order.paid", flow="notify")
        return derived

    results: list[Result] = []
    await AsyncAttempt(calls_of(handle), Emissions(publish), LoopWatch(), ENVELOPE, results.append).begin()
    [result] = results
    assert isinstance(result, Failed)
    assert (result.reason, result.detail) == ("handler_deferred", None)
