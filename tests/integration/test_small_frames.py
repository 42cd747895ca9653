"""A broker with small frames: AMQP cannot split the headers of a message, and a larger frame closes the connection."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from eventflow.amqp import wire
from eventflow.amqp.publisher import Publisher
from eventflow.errors import HeadersTooLargeError
from eventflow.message import Message, new_message_id
from eventflow.tasks import cancel_and_wait
from eventflow.topology import Lane, lane_queue
from sandbox.broker.line import Line
from sandbox.broker.node import PrivateNode
from tests.support.amqp import Amqp
from tests.support.services import API_KEY, Service, collector
from tests.support.wait import eventually

FRAME_MAX = 8192


@pytest.fixture(scope="module")
def small(node: PrivateNode) -> Iterator[PrivateNode]:
    """A node that agrees with new connections on the smallest frames that RabbitMQ 4 allows."""
    usual = node.evaluate("application:get_env(rabbit, frame_max)")
    limit_frames(node, FRAME_MAX)
    yield node
    limit_frames(node, int(re.sub(r"\D", "", usual)))


def limit_frames(node: PrivateNode, limit_bytes: int) -> None:
    node.evaluate(f"application:set_env(rabbit, frame_max, {limit_bytes})")


async def post(service: Service, http: aiohttp.ClientSession, event_id: str, *, forwarded_bytes: int) -> int:
    headers = {"X-Api-Key": API_KEY, "Idempotency-Key": event_id}
    for number in range(forwarded_bytes // 1000):
        headers[f"X-Large-{number}"] = "x" * 1000
    async with http.post(service.url, data=b"{}", headers=headers) as answer:
        return answer.status


async def broker_seen(service: Service, http: aiohttp.ClientSession, state: str) -> None:
    async def seen() -> bool:
        return (await service.readiness(http))["broker"] == state

    await eventually(seen, what=f"broker {state}")


async def ids_in(node: PrivateNode, queue: str) -> list[str]:
    async with Amqp(node.url) as amqp:
        return [message.headers["cloudEvents:id"] for message in await amqp.drain(queue)]


@pytest.mark.parametrize("is_supported", [True, False], ids=["the wire's way", "the library's way"])
async def test_headers_too_large_for_a_frame_are_refused_and_end_no_session(
    small: PrivateNode, flow: str, monkeypatch: pytest.MonkeyPatch, *, is_supported: bool
) -> None:
    monkeypatch.setattr(wire, "is_supported", lambda: is_supported)
    queue = lane_queue(flow, Lane.LIVE)
    async with Amqp(small.url) as amqp:
        await amqp.declare_flow(flow)
    publisher = Publisher([small.url], specs=[], name=f"test {flow}")
    running = asyncio.create_task(publisher.run())
    try:
        await eventually(lambda: publisher.state == "up", what="the publisher")
        connection = publisher._connection
        values = ["x" * 9000 if number == 5 else "x" * 7000 for number in range(10)]
        publications = [
            publisher.publish(
                Message(body=b"y" * 20_000, headers={"cloudEvents:subject": value}, message_id=new_message_id()),
                queue=queue,
            )
            for value in values
        ]
        for number, publication in enumerate(publications):
            if number == 5:
                with pytest.raises(HeadersTooLargeError, match="of a frame"):
                    await publication.confirmed(timeout_s=5)
            else:
                await publication.confirmed(timeout_s=5)
        assert publisher._connection is connection
    finally:
        await cancel_and_wait(running)


async def test_a_collector_answers_413_and_leaves_a_spooled_event_in_the_spool(
    small: PrivateNode, flow: str, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    forwarding = {f"FLOWS__{flow.upper()}__SOURCE__FORWARD_HEADERS": "X-Large-*"}
    async with Line(small.url) as line:
        service = collector(line.url, flow=flow, COLLECTOR__SPOOL_DIR=str(tmp_path), **forwarding)
        with service.process:
            await service.ready(http)
            await broker_seen(service, http, "up")
            assert await post(service, http, "large", forwarded_bytes=10_000) == 413
            assert await post(service, http, "small", forwarded_bytes=1000) == 202
            await line.cut()
            await broker_seen(service, http, "down")
            assert await post(service, http, "large and spooled", forwarded_bytes=10_000) == 202
            assert await post(service, http, "small and spooled", forwarded_bytes=1000) == 202
            await line.mend()
            await service.counts(http, "eventflow_spool_events", 1)
            await eventually(lambda: "spool.events_refused" in service.output, what="the refusal")
        assert "broker.session_ended" not in service.output.partition("spool.events_refused")[2], service.output
    assert await ids_in(small, lane_queue(flow, Lane.LIVE)) == ["small", "small and spooled"]
