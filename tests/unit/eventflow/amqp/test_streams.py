"""Streams: many of them are followed over one channel, on which the library sends one request at a time."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from eventflow.amqp import channel as channels
from eventflow.amqp.streams import StreamReader

ANSWER_S = 0.01


class Channel:
    """Stands for the library's channel: each request waits for the answers to those before it."""

    def __init__(self) -> None:
        self.on_consumer_cancel_callbacks: set[Any] = set()
        self._requests = asyncio.Lock()

    async def queue_declare(self, _: str, *, passive: bool) -> SimpleNamespace:
        assert passive
        await self._answer()
        return SimpleNamespace(message_count=0, consumer_count=0)

    async def basic_consume(self, _: str, __: object, *, arguments: object) -> None:
        assert arguments
        await self._answer()

    async def _answer(self) -> None:
        async with self._requests:
            await asyncio.sleep(ANSWER_S)


async def test_the_wait_for_a_request_of_another_stream_does_not_count_as_the_brokers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(channels, "RPC_TIMEOUT_S", 20 * ANSWER_S)
    reader = StreamReader(Channel())  # type: ignore[arg-type]  # the part that reads streams
    empty: list[int] = []

    async def follow(number: int) -> None:
        await reader.follow(
            f"stream-{number}", on_body=lambda _: None, on_empty=lambda: empty.append(number), silence_s=ANSWER_S
        )

    await asyncio.gather(*map(follow, range(50)))
    assert sorted(empty) == list(range(50))
