"""Streams: many of them are followed over one channel, on which the library sends one request at a time."""

import asyncio
from types import SimpleNamespace
from typing import Any

from eventflow.amqp.streams import StreamReader

SILENCE_S = 0.001


class Channel:
    """Stands for the library's channel: it counts the requests that have begun and are not answered."""

    def __init__(self) -> None:
        self.on_consumer_cancel_callbacks: set[Any] = set()
        self.most_waiting = 0
        self._waiting = 0

    async def queue_declare(self, _: str, *, passive: bool) -> SimpleNamespace:
        assert passive
        await self._answer()
        return SimpleNamespace(message_count=0, consumer_count=0)

    async def basic_consume(self, _: str, __: object, *, arguments: object) -> None:
        assert arguments
        await self._answer()

    async def flow(self, *, active: bool) -> None:
        assert active
        await self._answer()

    async def _answer(self) -> None:
        self._waiting += 1
        self.most_waiting = max(self.most_waiting, self._waiting)
        await asyncio.sleep(0)
        self._waiting -= 1


async def test_no_request_waits_for_those_of_other_streams_within_its_own_time() -> None:
    channel = Channel()
    reader = StreamReader(channel)  # type: ignore[arg-type]  # the part that reads streams
    empty: list[int] = []

    async def follow(number: int) -> None:
        await reader.follow(
            f"stream-{number}",
            on_message=lambda _, __: None,
            on_empty=lambda: empty.append(number),
            silence_s=SILENCE_S,
        )

    await asyncio.gather(*map(follow, range(50)))
    assert sorted(empty) == list(range(50))
    assert channel.most_waiting == 1
