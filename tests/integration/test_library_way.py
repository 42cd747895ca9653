"""Frames that usually bypass the AMQP library pass through it as well, if its version was not tested."""

import asyncio

import aio_pika
import pytest

from eventflow.amqp import wire
from eventflow.amqp.channel import open_channel
from eventflow.amqp.connection import Connection
from eventflow.amqp.consume_channel import LibraryConsumeChannel, WireConsumeChannel, consume_channel_on
from eventflow.amqp.publish_channel import LibraryPublishChannel, WirePublishChannel
from eventflow.amqp.publisher import Publisher
from eventflow.amqp.session import keep_connected
from eventflow.errors import BrokerUnavailableError, DeliveryLostError, UnroutableError
from eventflow.message import Message, new_message_id
from eventflow.topology import Lane, lane_queue
from sandbox.broker.line import Line
from tests.support.amqp import Amqp
from tests.support.wait import eventually


@pytest.fixture(params=[True, False], ids=["the wire's way", "the library's way"])
def is_supported(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(wire, "is_supported", lambda: request.param)
    return request.param


@pytest.fixture
async def queue(amqp: Amqp, flow: str) -> str:
    await amqp.declare_flow(flow)
    return lane_queue(flow, Lane.LIVE)


async def test_publishes_are_confirmed_or_returned_either_way(
    broker_url: str, queue: str, amqp: Amqp, *, is_supported: bool
) -> None:
    publisher = Publisher([broker_url], specs=[], name="test")
    running = asyncio.create_task(publisher.run())
    await eventually(lambda: publisher.state == "up", what="the publisher")
    assert isinstance(publisher._publish_channel, WirePublishChannel if is_supported else LibraryPublishChannel)
    sent = [publisher.publish(_message(), queue=queue) for _ in range(3)]
    lost = publisher.publish(_message(), queue=f"{queue}.nowhere")
    assert publisher.oldest_unresolved_s > 0
    for publication in sent:
        await publication.confirmed(timeout_s=10)
    with pytest.raises(UnroutableError):
        await lost.confirmed(timeout_s=10)
    assert publisher.oldest_unresolved_s == 0
    assert await amqp.depth(queue) == 3
    running.cancel()
    await asyncio.wait({running})


@pytest.mark.usefixtures("is_supported")
async def test_a_publish_ends_with_its_session_either_way(broker_url: str, queue: str) -> None:
    async with Line(broker_url) as line:
        publisher = Publisher([line.url], specs=[], name="test")
        running = asyncio.create_task(publisher.run())
        await eventually(lambda: publisher.state == "up", what="the publisher")
        line.block()  # no confirm can come
        left = publisher.publish(_message(), queue=queue)
        running.cancel()
        await asyncio.wait({running})
        with pytest.raises(BrokerUnavailableError):
            await left.confirmed(timeout_s=0)


async def test_deliveries_are_acked_handed_back_and_lost_with_their_channel_either_way(
    broker_url: str, queue: str, amqp: Amqp, *, is_supported: bool
) -> None:
    sent = [b"first", b"of many frames" * 100_000, b""]
    await amqp.publish(queue, *(aio_pika.Message(body=body, message_id=str(len(body))) for body in sent))
    got: list[tuple[bytes, str, int]] = []

    async def session(connection: Connection) -> None:
        channel = await open_channel(connection)
        consuming = consume_channel_on(connection, channel)
        assert isinstance(consuming, WireConsumeChannel if is_supported else LibraryConsumeChannel)
        await consuming.consume(
            queue,
            prefetch=10,
            deliver=lambda envelope, tag: got.append((envelope.event.body, envelope.event.id, tag)),
        )
        await eventually(lambda: len(got) == 3, what="all deliveries")
        consuming.settle(got[0][2], requeue=False)
        consuming.settle(got[1][2], requeue=True)
        await eventually(lambda: len(got) == 4, what="the requeued delivery")
        await channel.close()
        assert not consuming.is_open
        with pytest.raises(DeliveryLostError):
            consuming.settle(got[3][2], requeue=False)

    async with asyncio.timeout(30):
        await keep_connected([broker_url], name="test", session=session)
    assert [(body, event_id) for body, event_id, _ in got] == [(body, str(len(body))) for body in [*sent, sent[1]]]

    async def is_back() -> bool:
        return await amqp.depth(queue) == 2

    await eventually(is_back, what="what was not acked")
    assert sorted(message.body for message in await amqp.drain(queue)) == sorted(sent[1:])


def _message() -> Message:
    return Message(body=b"{}", headers={}, message_id=new_message_id())
