"""One trace for each event, in a real OTLP receiver, from the request that brought it to the target."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import aiohttp
import pytest

from eventflow.topology import Lane, lane_queue, retry_queue
from sandbox.broker.line import Line
from tests.support.otlp import OtlpReceiver, ReceivedSpan
from tests.support.services import API_KEY, collector, processor
from tests.support.target import ScriptedTarget
from tests.support.wait import eventually

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SENDERS_SPAN = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE_ID}-{SENDERS_SPAN}-01"

Send = Callable[..., "asyncio.Future[None]"]
Flow = Callable[..., AbstractAsyncContextManager[Send]]


@pytest.fixture
async def receiver() -> AsyncIterator[OtlpReceiver]:
    async with OtlpReceiver() as otlp:
        yield otlp


@pytest.fixture
async def running(
    broker_url: str, flow: str, http: aiohttp.ClientSession, receiver: OtlpReceiver, target: ScriptedTarget
) -> Flow:
    """Runs a flow whose services export their traces, but for what `settings` say; yields how to send an event."""

    @asynccontextmanager
    async def run(collectors_broker: str = broker_url, **settings: str) -> AsyncIterator[Send]:
        exporting = receiver.environment | settings
        taking = collector(collectors_broker, flow=flow, **exporting)
        giving = processor(
            broker_url, flow=flow, target_url=target.url, TARGET__RETRY_DELAYS_S="0.2", **receiver.environment
        )

        async def send(event_id: str, **headers: str) -> None:
            given = {"X-Api-Key": API_KEY, "Idempotency-Key": event_id, **headers}
            async with http.post(taking.url, data=b"{}", headers=given) as answer:
                assert answer.status == 202, await answer.text()

        with taking.process, giving.process:
            await asyncio.gather(taking.ready(http), giving.ready(http))
            yield send
            ended = await asyncio.gather(*(asyncio.to_thread(service.process.stop) for service in (taking, giving)))
            assert ended == [0, 0], taking.output + giving.output

    return run


async def test_an_event_with_a_failed_attempt_is_one_connected_trace(
    running: Flow, receiver: OtlpReceiver, target: ScriptedTarget, flow: str
) -> None:
    target.answer = lambda receipt: 200 if receipt.attempt == 2 else 500
    async with running() as send:
        await send("e-1", traceparent=TRACEPARENT)
        await eventually(lambda: len(target.receipts) == 2, what="the attempt and its retry")
    live, due = lane_queue(flow, Lane.LIVE), lane_queue(flow, Lane.DUE)
    request, publish = one(receiver, "POST /events/{flow}"), one(receiver, f"publish {live}")
    first, second = one(receiver, f"process {live}"), one(receiver, f"process {due}")
    failed, succeeded = receiver.named("POST")
    copy = one(receiver, f"publish {retry_queue(flow, 0.2)}")
    waits = [one(receiver, f"wait {queue}") for queue in (live, due)]
    quota = receiver.named("wait for quota")

    assert len(receiver.spans) == 11
    assert {span.trace_id for span in receiver.spans} == {TRACE_ID}
    assert request.parent_id == SENDERS_SPAN
    assert publish.parent_id == request.id
    assert [span.parent_id for span in (first, second, *waits)] == [publish.id] * 4
    assert [span.parent_id for span in (failed, copy, quota[0])] == [first.id] * 3
    assert [span.parent_id for span in (succeeded, quota[1])] == [second.id] * 2
    assert second.links == (failed.id,), "the retry is linked to the attempt that failed"
    assert [receipt.headers["traceparent"] for receipt in target.receipts] == [
        failed.traceparent,
        succeeded.traceparent,
    ]
    assert [span.failed for span in (failed, succeeded, first, second)] == [True, False, False, False]
    assert failed.attributes["error.type"] == "server_error"
    assert failed.attributes["http.response.status_code"] == 500
    assert first.attributes["eventflow.outcome"] == "retry"
    assert second.attributes["eventflow.attempt"] == 2
    assert first.attributes["cloudevents.event_id"] == "e-1"
    assert publish.attributes["messaging.system"] == "rabbitmq"
    assert publish.attributes["messaging.destination.name"] == live
    kinds = [span.kind for span in (request, publish, first, failed, copy)]
    assert kinds == ["server", "producer", "consumer", "client", "producer"]
    assert {span.service for span in (request, publish)} == {"eventflow-collector"}
    assert {span.service for span in (first, failed, *waits)} == {"eventflow-processor"}
    assert all(span.start_ns <= span.end_ns for span in receiver.spans)


async def test_an_event_that_waits_in_the_spool_keeps_its_trace(
    running: Flow, receiver: OtlpReceiver, target: ScriptedTarget, flow: str, broker_url: str, tmp_path: object
) -> None:
    async with Line(broker_url) as line, running(line.url, COLLECTOR__SPOOL_DIR=str(tmp_path)) as send:
        await line.cut()
        await send("spooled", traceparent=TRACEPARENT)
        await line.mend()
        await eventually(lambda: len(target.receipts) == 1, what="the event out of the spool")
    unconfirmed, drained = receiver.named(f"publish {lane_queue(flow, Lane.LIVE)}")
    assert {span.trace_id for span in receiver.spans} == {TRACE_ID}
    assert unconfirmed.attributes["error.type"] == "BrokerUnavailableError"
    assert one(receiver, "spool").parent_id == unconfirmed.parent_id
    assert [drained.parent_id, drained.failed] == [unconfirmed.id, False]


async def test_one_decision_to_sample_holds_for_the_whole_way(
    running: Flow, receiver: OtlpReceiver, target: ScriptedTarget
) -> None:
    unsampled = TRACEPARENT[:-1] + "0"
    async with running(OTEL_TRACES_SAMPLER="parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG="0") as send:
        await send("the sender's", traceparent=unsampled)
        await send("the collector's")
        await eventually(lambda: len(target.receipts) == 2, what="both events")
    assert receiver.spans == [], "the processor would sample everything"
    given = {receipt.id: receipt.headers["traceparent"] for receipt in target.receipts}
    assert given["the%20sender's"] == unsampled
    assert int(given["the%20collector's"][-2:], 16) & 1 == 0


async def test_a_receiver_of_traces_that_is_away_costs_no_event_and_holds_up_no_stop(
    running: Flow, target: ScriptedTarget
) -> None:
    async with running(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9") as send:
        await asyncio.gather(*(send(str(number)) for number in range(20)))
        await eventually(lambda: len(target.receipts) == 20, what="all events")


def one(receiver: OtlpReceiver, name: str) -> ReceivedSpan:
    """Return the only span of a name."""
    spans = receiver.named(name)
    assert len(spans) == 1, [span.name for span in receiver.spans]
    return spans[0]
