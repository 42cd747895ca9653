"""aiohttp, and aio-pika's `publish` for each request."""

from collections.abc import AsyncIterator

import aio_pika
import uvloop
from aiohttp import web

from benchmarks.peers.settings import AMQP_URL, PORT

QUEUE = "peer.aio-pika"
CHANNEL = web.AppKey("channel", aio_pika.abc.AbstractChannel)


async def connected(app: web.Application) -> AsyncIterator[None]:
    """Keep one connection with one channel in confirm mode."""
    connection = await aio_pika.connect_robust(AMQP_URL)
    async with connection:
        app[CHANNEL] = await connection.channel(publisher_confirms=True)
        await app[CHANNEL].declare_queue(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
        yield


async def receive(request: web.Request) -> web.Response:
    """Publish one event and answer when it is confirmed."""
    message = aio_pika.Message(
        body=await request.read(),
        content_type=request.content_type,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )
    await request.app[CHANNEL].default_exchange.publish(message, routing_key=QUEUE)
    return web.json_response({"status": "accepted"}, status=202)


if __name__ == "__main__":
    uvloop.install()
    app = web.Application()
    app.add_routes([web.post("/events", receive)])
    app.cleanup_ctx.append(connected)
    web.run_app(app, host="127.0.0.1", port=PORT, access_log=None, print=None)
