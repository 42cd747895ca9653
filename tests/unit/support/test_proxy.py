"""The AMQP proxy of the chaos suite, between two ends that are no broker and no service."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest

from tests.support.proxy import BASIC_ACK, BASIC_NACK, CONFIRM_SELECT, METHOD, METHOD_FRAME, Confirms, Frame, Proxy

HEADER = b"AMQP\x00\x00\x09\x01"
TAG_AND_MULTIPLE = b"\x00" * 7 + b"\x05\x01"


def method(ids: tuple[int, int], arguments: bytes = b"", *, channel: int = 1) -> Frame:
    return Frame(kind=METHOD_FRAME, channel=channel, payload=METHOD.pack(*ids) + arguments, end=b"\xce")


ACK = method(BASIC_ACK, TAG_AND_MULTIPLE)
NACK = method(BASIC_NACK, TAG_AND_MULTIPLE)
DELIVERY = Frame(kind=3, channel=1, payload=b"body", end=b"\xce")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    proxy: Proxy
    client: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    broker: tuple[asyncio.StreamReader, asyncio.StreamWriter]

    async def from_broker(self, *frames: Frame) -> None:
        self.broker[1].write(b"".join(frame.raw for frame in frames))
        await self.broker[1].drain()

    async def to_client(self, size: int) -> bytes:
        async with asyncio.timeout(5):
            return await self.client[0].readexactly(size)


@asynccontextmanager
async def opened(proxied: Proxy) -> AsyncIterator[Ends]:
    accepted: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.put_nowait((reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", proxied._upstream.port)
    async with proxied as proxy:
        host, port = proxy.url.rpartition("@")[2].rstrip("/").split(":")
        client = await asyncio.open_connection(host, int(port))
        client[1].write(HEADER + method(CONFIRM_SELECT, b"\x00").raw)
        async with asyncio.timeout(5):
            broker = await accepted.get()
            sent = await broker[0].readexactly(len(HEADER) + len(method(CONFIRM_SELECT, b"\x00").raw))
        assert sent.startswith(HEADER)
        yield Ends(proxy=proxy, client=client, broker=broker)
        for _, writer in (client, broker):
            writer.close()
    server.close()


@pytest.fixture
async def ends(unused_tcp_port: int) -> AsyncIterator[Ends]:
    async with opened(Proxy(f"amqp://guest:guest@127.0.0.1:{unused_tcp_port}/")) as both:
        yield both


async def test_frames_pass_unchanged(ends: Ends) -> None:
    await ends.from_broker(DELIVERY, ACK)
    assert await ends.to_client(len(DELIVERY.raw) + len(ACK.raw)) == DELIVERY.raw + ACK.raw


async def test_confirms_are_dropped_and_nothing_else_is(ends: Ends) -> None:
    ends.proxy.confirms = Confirms.DROP
    await ends.from_broker(ACK, method(BASIC_ACK, TAG_AND_MULTIPLE, channel=2), DELIVERY)
    expected = method(BASIC_ACK, TAG_AND_MULTIPLE, channel=2).raw + DELIVERY.raw
    assert await ends.to_client(len(expected)) == expected


async def test_an_ack_becomes_the_nack_of_the_same_messages(ends: Ends) -> None:
    ends.proxy.confirms = Confirms.REFUSE
    await ends.from_broker(ACK)
    assert await ends.to_client(len(NACK.raw)) == NACK.raw


async def test_a_stall_holds_everything_back_and_loses_nothing(ends: Ends) -> None:
    with ends.proxy.stalled(to_broker=False):
        await ends.from_broker(DELIVERY)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await ends.client[0].readexactly(1)
    assert await ends.to_client(len(DELIVERY.raw)) == DELIVERY.raw


async def test_a_cut_ends_both_sides_though_they_are_stalled(ends: Ends) -> None:
    with ends.proxy.stalled(to_broker=False):
        await ends.from_broker(DELIVERY)
        ends.proxy.cut()
        for reader, _ in (ends.client, ends.broker):
            async with asyncio.timeout(5):
                with suppress(ConnectionError):  # or the end of file
                    assert await reader.read() == b""


@pytest.mark.timed
async def test_a_delay_comes_before_each_frame_and_keeps_their_order(ends: Ends) -> None:
    ends.proxy.delay_s, ends.proxy.lost_share, ends.proxy.resend_s = 0.05, 0.5, 0.1
    began_s = asyncio.get_running_loop().time()
    frames = [Frame(kind=3, channel=1, payload=bytes([number]), end=b"\xce") for number in range(20)]
    await ends.from_broker(*frames)
    raw = b"".join(frame.raw for frame in frames)
    assert await ends.to_client(len(raw)) == raw
    assert 0.05 <= asyncio.get_running_loop().time() - began_s < 1
