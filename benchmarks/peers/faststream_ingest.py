"""FastAPI, and FastStream's `publish` for each request."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI, Request
from faststream.rabbit import QueueType, RabbitBroker, RabbitQueue

from benchmarks.peers.settings import AMQP_URL, PORT

broker = RabbitBroker(AMQP_URL, logger=None)
queue = RabbitQueue("peer.faststream", durable=True, queue_type=QueueType.QUORUM)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Keep the connection."""
    async with broker:
        await broker.declare_queue(queue)
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/events", status_code=202)
async def receive(request: Request) -> dict[str, str]:
    """Publish one event and answer when it is confirmed."""
    content_type = request.headers.get("Content-Type")
    await broker.publish(await request.body(), queue=queue, persist=True, content_type=content_type)
    return {"status": "accepted"}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning", access_log=False)
