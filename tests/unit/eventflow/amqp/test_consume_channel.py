"""Settlements by the library's own methods."""

import asyncio

from eventflow.amqp.consume_channel import LibraryConsumeChannel


class Channel:
    """Stands for the library's channel, which has room for ten frames and takes no more until the socket does."""

    is_closed = False

    def __init__(self) -> None:
        self.frames: asyncio.Queue[int] = asyncio.Queue(maxsize=10)

    async def basic_ack(self, tag: int, *, wait: bool) -> None:
        assert not wait
        await self.frames.put(tag)


async def test_more_settlements_than_the_library_has_room_for_are_written_in_their_order() -> None:
    """A task that had just begun got the room that another had waited for, which then waited behind all others."""
    channel = Channel()
    consuming = LibraryConsumeChannel(channel)  # type: ignore[arg-type]  # the part that settles
    written: list[int] = []
    for tag in range(50):
        consuming.settle(tag, requeue=False)
    await asyncio.sleep(0)
    for tag in range(50, 100):
        consuming.settle(tag, requeue=False)
        written.append(channel.frames.get_nowait())  # so the task above starts before the one that waits for this room
        await asyncio.sleep(0)
    while len(written) < 100:
        written.append(await channel.frames.get())
    assert written == list(range(100))
