"""A FastStream subscriber that posts each message with aiohttp's client."""

import aiohttp
import uvloop
from faststream import AckPolicy, FastStream
from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitQueue

from benchmarks.peers.settings import AMQP_URL, CONCURRENCY, TARGET_URL

broker = RabbitBroker(AMQP_URL, default_channel=Channel(prefetch_count=CONCURRENCY), logger=None)
queue = RabbitQueue("peer.faststream", durable=True, queue_type=QueueType.QUORUM)


@broker.subscriber(queue, ack_policy=AckPolicy.NACK_ON_ERROR)
async def deliver(event: dict) -> None:
    """Post one event; an exception returns it to the queue."""
    async with app.context.get("client").post(TARGET_URL, json=event) as answer:
        answer.raise_for_status()


app = FastStream(broker, logger=None)


async def main() -> None:
    """Consume until a signal."""
    async with aiohttp.ClientSession() as client:
        app.context.set_global("client", client)
        await app.run()


if __name__ == "__main__":
    uvloop.run(main())
