"""An aio-pika consumer that posts each message with aiohttp's client and acks it."""

import asyncio

import aio_pika
import aiohttp
import uvloop

from benchmarks.peers.settings import AMQP_URL, CONCURRENCY, TARGET_URL

QUEUE = "peer.aio-pika"


async def main() -> None:
    """Consume until the process is ended."""
    connection = await aio_pika.connect_robust(AMQP_URL)
    async with connection, aiohttp.ClientSession() as client:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=CONCURRENCY)
        queue = await channel.declare_queue(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})

        async def deliver(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            async with message.process(requeue=True):
                headers = {"Content-Type": message.content_type or "application/octet-stream"}
                async with client.post(TARGET_URL, data=message.body, headers=headers) as answer:
                    answer.raise_for_status()

        await queue.consume(deliver)
        await asyncio.Future()


if __name__ == "__main__":
    uvloop.run(main())
