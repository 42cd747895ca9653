"""What passes below the AMQP library passes through it as well, where its version was not tried."""

import asyncio

import aio_pika
import pytest

from eventflow import broker, wire
from eventflow.broker import Connection
from eventflow.errors import BrokerUnavailableError, DeliveryLostError, UnroutableError
from eventflow.inlet import LibraryInlet, WireInlet, inlet_on
from eventflow.message import Message, new_message_id
from eventflow.outlet import LibraryOutlet, WireOutlet
from eventflow.publisher import Publisher
from eventflow.topology import Lane, lane_queue
from tests.support.amqp import Amqp
from tests.support.wait import eventually


@pytest.mark.parametrize("is_supported", [True, False])
async def test_publishes_are_confirmed_returned_and_given_up_either_way(
    broker_url: str, flow: str, amqp: Amqp, monkeypatch: pytest.MonkeyPatch, *, is_supported: bool
) -> None:
    monkeypatch.setattr(wire, "is_supported", lambda: is_supported)
    await amqp.declare_flow(flow)
    queue = lane_queue(flow, Lane.LIVE)
    publisher = Publisher([broker_url], specs=[], name="test")
    running = asyncio.create_task(publisher.run())
    await eventually(lambda: publisher.state == "up", what="the publisher")
    assert isinstance(publisher._outlet, WireOutlet if is_supported else LibraryOutlet)
    sent = [publisher.publish(_message(), queue=queue) for _ in range(3)]
    lost = publisher.publish(_message(), queue=f"{queue}.nowhere")
    assert publisher.oldest_unresolved_s > 0
    for publication in sent:
        await publication.confirmed(timeout_s=10)
    with pytest.raises(UnroutableError):
        await lost.confirmed(timeout_s=10)
    assert publisher.oldest_unresolved_s == 0
    assert await amqp.depth(queue) == 3
    left = publisher.publish(_message(), queue=queue)
    running.cancel()
    await asyncio.wait({running})
    with pytest.raises(BrokerUnavailableError):
        await left.confirmed(timeout_s=0)


@pytest.mark.parametrize("is_supported", [True, False])
async def test_deliveries_are_acked_handed_back_and_lost_with_their_channel_either_way(
    broker_url: str, flow: str, amqp: Amqp, monkeypatch: pytest.MonkeyPatch, *, is_supported: bool
) -> None:
    monkeypatch.setattr(wire, "is_supported", lambda: is_supported)
    await amqp.declare_flow(flow)
    queue = lane_queue(flow, Lane.LIVE)
    sent = [b"first", b"of many frames" * 100_000, b""]
    await amqp.publish(queue, *(aio_pika.Message(body=body, message_id=str(len(body))) for body in sent))
    got: list[tuple[bytes, str, int]] = []

    async def session(connection: Connection) -> None:
        channel = await broker.open_channel(connection)
        inlet = inlet_on(connection, channel)
        assert isinstance(inlet, WireInlet if is_supported else LibraryInlet)
        await inlet.consume(
            queue,
            prefetch=10,
            deliver=lambda envelope, tag: got.append((envelope.event.body, envelope.event.id, tag)),
        )
        await eventually(lambda: len(got) == 3, what="all deliveries")
        await inlet.settle(got[0][2], requeue=False)
        await inlet.settle(got[1][2], requeue=True)
        await eventually(lambda: len(got) == 4, what="what was handed back")
        await channel.close()
        assert not inlet.is_open
        with pytest.raises(DeliveryLostError):
            await inlet.settle(got[3][2], requeue=False)

    async with asyncio.timeout(30):
        await broker.keep_connected([broker_url], name="test", session=session)
    assert [(body, event_id) for body, event_id, _ in got] == [(body, str(len(body))) for body in [*sent, sent[1]]]
    left = [message.body for message in await amqp.drain(queue)]
    assert sorted(left) == sorted(sent[1:]), "all but the one that was acked"


def _message() -> Message:
    return Message(body=b"{}", headers={}, message_id=new_message_id())
