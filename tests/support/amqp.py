"""A plain AMQP client, apart from the code under test: looks at queues and publishes what strangers might publish."""

from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from eventflow.topology import QueueSpec, flow_specs
from tests.support.tables import RawProperties


class Amqp:
    """One connection. Use it as an async context manager."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def __aenter__(self) -> Self:
        self.connection = await aio_pika.connect(self._url, timeout=30)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.connection.close()

    async def declare(self, specs: Iterable[QueueSpec]) -> None:
        """Declare queues as the services do."""
        async with self.connection.channel() as channel:
            for spec in specs:
                await channel.declare_queue(spec.name, durable=True, arguments=dict(spec.arguments))

    async def declare_flow(self, flow: str, delays_s: tuple[float, ...] = (0.2, 0.5)) -> None:
        """Declare all queues of a flow."""
        await self.declare(flow_specs(flow, delays_s))

    async def publish(self, queue: str, *messages: aio_pika.Message) -> None:
        """Publish to a queue, confirmed."""
        async with self.connection.channel() as channel:
            for message in messages:
                await channel.default_exchange.publish(message, routing_key=queue)

    @staticmethod
    def messages(count: int, body: bytes = b"{}") -> list[aio_pika.Message]:
        """Make messages of a stranger, whose events have the ids `m-0` and so on."""
        return [
            aio_pika.Message(body, message_id=f"m-{number}", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            for number in range(count)
        ]

    async def publish_raw(self, properties: RawProperties, body: bytes, *, queue: str, exchange: str = "") -> None:
        """Publish with properties written by hand, confirmed; the broker may refuse them."""
        async with self.connection.channel() as channel:
            below = await channel.get_underlay_channel()
            await below.basic_publish(body, exchange=exchange, routing_key=queue, properties=properties)

    async def depth(self, queue: str) -> int:
        """Return how many messages are ready in a queue."""
        return (await self._passive(queue)).message_count or 0

    async def consumers(self, queue: str) -> int:
        """Return how many consumers a queue has."""
        return (await self._passive(queue)).consumer_count or 0

    async def _passive(self, queue: str) -> Any:
        async with self.connection.channel() as channel:
            return (await channel.declare_queue(queue, passive=True)).declaration_result

    async def drain(self, queue: str) -> list[AbstractIncomingMessage]:
        """Take everything that is ready out of a queue."""
        taken = []
        async with self.connection.channel() as channel:
            source = await channel.declare_queue(queue, passive=True)
            while message := await source.get(no_ack=True, fail=False):
                taken.append(message)
        return taken

    async def delete(self, *queues: str) -> None:
        """Delete queues."""
        async with self.connection.channel() as channel:
            for queue in queues:
                await channel.queue_delete(queue)
