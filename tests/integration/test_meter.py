"""Queues are measured again and again without a trace at the broker, and many of them at the same time."""

import asyncio

from eventflow.amqp.connection import closing, connect
from eventflow.amqp.meter import QueueMeter
from eventflow.amqp.queues import depth_of
from eventflow.amqp.streams import last_of_stream
from eventflow.topology import Lane, lane_queue, overrides_queue, overrides_spec
from tests.support.amqp import Amqp


async def test_a_queue_is_measured_beside_one_that_does_not_exist(broker_url: str, flow: str, amqp: Amqp) -> None:
    queue = lane_queue(flow, Lane.LIVE)
    async with closing(await connect(broker_url, name="meter")) as connection:
        meter = QueueMeter(connection)
        assert await meter.depth(queue) is None
        await amqp.declare_flow(flow)
        assert await meter.depth(queue) is None, "it counts as missing for a while"
        found = await meter.depth(lane_queue(flow, Lane.DUE))
        assert found is not None
        assert (found.messages, found.consumers) == (0, 0)


async def test_measuring_and_reading_overrides_leave_no_channel_open(broker_url: str, flow: str, amqp: Amqp) -> None:
    await amqp.declare_flow(flow)
    await amqp.declare([overrides_spec(flow)])
    async with closing(await connect(broker_url, name="meter")) as connection:
        meter = QueueMeter(connection)
        for _ in range(3):
            await meter.depth(lane_queue(flow, Lane.LIVE))
            assert await last_of_stream(connection, overrides_queue(flow)) is None
        assert connection.transport is not None
        assert len(connection.transport.connection.channels) == 1, "that of the meter"


async def test_channels_that_the_broker_closes_at_the_same_time_do_not_end_the_connection(
    broker_url: str, flow: str
) -> None:
    """The library reused the number of a channel before the broker had the answer to its close."""
    async with closing(await connect(broker_url, name="many channels")) as connection:
        connection._last_channel_number = 2040  # near the highest number that RabbitMQ allows by default
        for _ in range(5):
            found = await asyncio.gather(*(depth_of(connection, f"{flow}.{number}") for number in range(20)))
            assert found == [None] * 20
        assert 0 < connection._last_channel_number < 200
