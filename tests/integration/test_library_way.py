"""What passes below the AMQP library passes through it as well, where its version was not tried."""

import asyncio

import pytest

from eventflow import wire
from eventflow.errors import BrokerUnavailableError, UnroutableError
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


def _message() -> Message:
    return Message(body=b"{}", headers={}, message_id=new_message_id())
