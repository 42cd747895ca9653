"""A TCP proxy between a service and RabbitMQ that understands AMQP 0-9-1 frames, and can be turned against both.

What it does is set at run time and holds for connections that are open as well as for new ones.
"""

import asyncio
import random
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

FRAME_HEAD = struct.Struct(">BHL")
METHOD = struct.Struct(">HH")
METHOD_FRAME = 1
FRAME_END = b"\xce"
PROTOCOL_HEADER_BYTES = 8

CONNECTION_NAME = b"\x0fconnection_nameS"
"""A field of the client's properties: its name's length and name, and that its value is a long string."""

CHANNEL_CLOSE = (20, 40)
CHANNEL_CLOSE_OK = (20, 41)
BASIC_PUBLISH = (60, 40)
BASIC_ACK = (60, 80)
BASIC_NACK = (60, 120)
CONFIRM_SELECT = (85, 10)

BUFFERED_FRAMES = 10_000


class Confirms(Enum):
    """The treatment of the broker's confirms."""

    PASS = "passed on"
    DROP = "dropped"
    REFUSE = "turned into nacks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One AMQP frame as it travels."""

    kind: int
    channel: int
    payload: bytes
    end: bytes

    @property
    def method(self) -> tuple[int, int] | None:
        """Class and method id of a method frame."""
        return METHOD.unpack_from(self.payload) if self.kind == METHOD_FRAME else None  # type: ignore[return-value]

    @property
    def raw(self) -> bytes:
        return FRAME_HEAD.pack(self.kind, self.channel, len(self.payload)) + self.payload + self.end

    def as_nack(self) -> "Frame":
        """Return the nack of what this ack acknowledges; both carry a tag and an octet of bits, `multiple` first."""
        payload = METHOD.pack(*BASIC_NACK) + self.payload[METHOD.size :]
        return Frame(kind=self.kind, channel=self.channel, payload=payload, end=self.end)


@dataclass(slots=True, eq=False)
class Link:
    """One proxied connection, told apart by what the client has asked for on it."""

    opened_s: float
    name: str = ""
    closed_s: float | None = None
    consumes: bool = False
    confirm_channels: set[int] = field(default_factory=set)
    closing: dict[int, Frame] = field(default_factory=dict)
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def publishes(self) -> bool:
        return bool(self.confirm_channels)

    def cut(self) -> None:
        """End both sides at once; what was read and not passed on yet is gone."""
        for task in self.tasks:
            task.cancel()
        for writer in self.writers:
            writer.transport.abort()


def any_link(_: Link) -> bool:
    """Choose every connection."""
    return True


def no_link(_: Link) -> bool:
    """Choose no connection."""
    return False


@dataclass(frozen=True, slots=True, eq=False)
class Stall:
    """Connections that it applies to carry nothing in its direction until it is lifted."""

    applies: Callable[[Link], bool]
    lifted: asyncio.Event


class Proxy:
    """Listens on a free port of loopback while its context is open.

    Attributes:
        silent: New connections are accepted and never spoken to.
        refuses: Chooses connections that end as soon as they have told their name.
        confirms: What becomes of confirms from now on.
        delay_s: Added to each direction.
        lost_share: Share of frames that come late by `resend_s`, and all behind them, as after a lost TCP segment.
    """

    def __init__(self, upstream_url: str, *, dice: random.Random | None = None) -> None:
        self._upstream = urlsplit(upstream_url)
        self._dice = dice or random.Random()
        self._links: set[Link] = set()
        self._stalls: dict[bool, list[Stall]] = {True: [], False: []}
        self.history: list[Link] = []
        self.silent = False
        self.refuses: Callable[[Link], bool] = no_link
        self.confirms = Confirms.PASS
        self.delay_s = 0.0
        self.lost_share = 0.0
        self.resend_s = 0.3

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = self._upstream._replace(
            netloc=f"{self._upstream.netloc.rpartition('@')[0]}@127.0.0.1:{port}"
        ).geturl()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        await asyncio.sleep(0)  # a connection that was just accepted becomes a link
        links = list(self._links)
        self.cut()
        await asyncio.gather(*(task for link in links for task in link.tasks), return_exceptions=True)
        for writer in (writer for link in links for writer in link.writers):
            with suppress(OSError):
                await writer.wait_closed()

    def cut(self, applies: Callable[[Link], bool] = any_link) -> None:
        """End the connections that are open now."""
        for link in list(self._links):
            if applies(link):
                link.cut()

    def close_publish_channels(self, text: str) -> None:
        """Close the channels that publish with the error 406 and this text: the broker's first, then the client's."""
        reason = text.encode()
        payload = (
            METHOD.pack(*CHANNEL_CLOSE) + struct.pack(">HB", 406, len(reason)) + reason + METHOD.pack(*BASIC_PUBLISH)
        )
        for link in self._links:
            for channel in link.confirm_channels:
                close = Frame(kind=METHOD_FRAME, channel=channel, payload=payload, end=FRAME_END)
                link.writers[1].write(close.raw)
                link.closing[channel] = close

    @contextmanager
    def stalled(self, *, to_broker: bool, applies: Callable[[Link], bool] = any_link) -> Iterator[None]:
        """Stop reading from one side while the context is open, so that the sender's buffers fill; then go on."""
        stall = Stall(applies, asyncio.Event())
        self._stalls[to_broker].append(stall)
        try:
            yield
        finally:
            self._stalls[to_broker].remove(stall)
            stall.lifted.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(opened_s=asyncio.get_running_loop().time(), writers=[writer])
        self._links.add(link)
        self.history.append(link)
        carrying = asyncio.create_task(self._carry(link, reader, writer))
        link.tasks.append(carrying)
        with suppress(asyncio.CancelledError):
            await asyncio.wait({carrying})
        link.closed_s = asyncio.get_running_loop().time()
        link.cut()
        self._links.discard(link)

    async def _carry(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            header = await reader.readexactly(PROTOCOL_HEADER_BYTES)
            if self.silent:
                await reader.read()
                return
            upstream = await asyncio.open_connection(self._upstream.hostname, self._upstream.port)
            link.writers.append(upstream[1])
            upstream[1].write(header)
            pumps = [
                asyncio.create_task(self._pump(link, reader, upstream[1], to_broker=True)),
                asyncio.create_task(self._pump(link, upstream[0], writer, to_broker=False)),
            ]
            link.tasks.extend(pumps)
            _, open_ones = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in open_ones:
                pump.cancel()

    async def _pump(
        self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, to_broker: bool
    ) -> None:
        """Read frames and write them on when they are due; a bounded queue between, so that a full receiver is felt."""
        loop = asyncio.get_running_loop()
        due: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(BUFFERED_FRAMES)
        writing = asyncio.create_task(_write(due, writer))
        link.tasks.append(writing)
        try:
            while not writing.done():
                frame = await _read_frame(reader)
                for stall in [stall for stall in self._stalls[to_broker] if stall.applies(link)]:
                    await stall.lifted.wait()
                passed = self._seen_from_client(link, frame) if to_broker else self._judge(link, frame)
                if passed is not None:
                    await due.put((loop.time() + self._lateness_s(), passed.raw))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writing.cancel()

    def _seen_from_client(self, link: Link, frame: Frame) -> Frame | None:
        match frame.method:
            case (20, 40):
                link.confirm_channels.discard(frame.channel)
            case (20, 41) if frame.channel in link.closing:
                del link.closing[frame.channel]
                return None
            case (10, 11):
                link.name = _connection_name(frame.payload)
                if self.refuses(link):
                    link.cut()
            case (60, 20):
                link.consumes = True
            case (85, 10):
                link.confirm_channels.add(frame.channel)
        return frame

    def _judge(self, link: Link, frame: Frame) -> Frame | None:
        if frame.method == CHANNEL_CLOSE_OK and frame.channel in link.closing:
            return link.closing[frame.channel]
        is_confirm = frame.channel in link.confirm_channels and frame.method == BASIC_ACK
        if not is_confirm or self.confirms is Confirms.PASS:
            return frame
        return frame.as_nack() if self.confirms is Confirms.REFUSE else None

    def _lateness_s(self) -> float:
        return self.delay_s + (self.resend_s if self._dice.random() < self.lost_share else 0.0)


def _connection_name(payload: bytes) -> str:
    """Find the name that a client gives its connection; empty if it gives none."""
    _, found, rest = payload.partition(CONNECTION_NAME)
    return rest[4 : 4 + int.from_bytes(rest[:4])].decode() if found else ""


async def _read_frame(reader: asyncio.StreamReader) -> Frame:
    kind, channel, size = FRAME_HEAD.unpack(await reader.readexactly(FRAME_HEAD.size))
    payload = await reader.readexactly(size)
    return Frame(kind=kind, channel=channel, payload=payload, end=await reader.readexactly(1))


async def _write(due: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter) -> None:
    loop = asyncio.get_running_loop()
    with suppress(OSError):
        while True:
            at_s, raw = await due.get()
            if at_s > loop.time():
                await asyncio.sleep(at_s - loop.time())
            writer.write(raw)
            await writer.drain()
