"""Below the AMQP library: frames of chosen channels, written many at a time and read without its help (ADR 12).

The library makes the connection: handshake, TLS, heartbeats, opening channels, declaring and consuming stay its own. On
a channel that is taken here, publishes, acks, confirms and deliveries pass it by: what one tick of the event loop sends
is one write, and what one read brings is taken apart in one go.

It stands on two public parts of aiormq, the transport factory and the number of a channel, and on the knowledge that
nothing else of the library uses those frames. `is_supported` says whether the installed version was tried.
"""

import asyncio
import ssl
import struct
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any, Protocol, SupportsIndex

from aiormq.connection import TransportFactory
from yarl import URL

from eventflow.amqp import frames
from eventflow.network.route import Route

TESTED_VERSIONS = ("7.2.", "7.3.")

HEARTBEAT_FRAME = b"\x08\x00\x00\x00\x00\x00\x00\xce"
HEARTBEAT_EVERY_S = 2.0
"""The library takes a connection for dead on which it sees no frame. So where frames pass it by, it is shown one."""

_FRAME = struct.Struct(">BHI")


def is_supported() -> bool:
    """Whether this module was tried with the installed library; else whoever asks goes the library's own way."""
    return version("aiormq").startswith(TESTED_VERSIONS)


class Frames(Protocol):
    """Takes the frames of one channel."""

    def take(self, kind: int, payload: bytes) -> bool:
        """Take a frame, or leave it to the library by returning False. Never raises."""


class CloseReader:
    """Reads why the broker closes a connection, and leaves each frame to the library.

    While a connection is being made, the library's error shows the object that the reason is in, and not the reason.
    """

    def __init__(self) -> None:
        self.reason: str | None = None

    def take(self, kind: int, payload: bytes) -> bool:
        """Look at a frame; see `Frames`."""
        if kind == frames.METHOD and payload.startswith(frames.CONNECTION_CLOSE):
            self.reason = frames.close_reason_of(payload)
        return False


class Wire:
    """The socket of one connection, as far as it is ours."""

    def __init__(self) -> None:
        self._writer: asyncio.StreamWriter | None = None
        self._close = CloseReader()
        self._takers: dict[int, Frames] = {0: self._close}
        self._unsent: list[bytes] = []
        self._is_at_end = False

    @property
    def close_reason(self) -> str | None:
        """The broker's words for why it closes the connection; None if it does not."""
        return self._close.reason

    @property
    def is_lost(self) -> bool:
        """Whether the connection is closed, or will be by either side."""
        return (
            self._writer is None
            or self.close_reason is not None
            or self._writer.transport.is_closing()
            or self._is_at_end
        )

    def note_end(self) -> None:
        """Note that the broker sends nothing more."""
        self._is_at_end = True

    def take_channel(self, number: int, taker: Frames) -> None:
        """Offer each frame of a channel to `taker` first, from now on."""
        self._takers[number] = taker

    def send(self, frames: bytes) -> None:
        """Write whole frames at the end of this tick of the event loop, together with all others of it."""
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent.append(frames)

    def attach(self, writer: asyncio.StreamWriter) -> None:
        """Write to this from now on."""
        self._writer = writer

    def abort(self) -> None:
        """Cut the connection, with what was not sent yet."""
        if self._writer is not None:
            self._writer.transport.abort()

    def offer(self, number: int, kind: int, payload: bytes) -> bool:
        """Offer a frame that came in; return whether it was taken."""
        taker = self._takers.get(number)
        return taker is not None and taker.take(kind, payload)

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(b"".join(unsent))


class FrameReader(asyncio.StreamReader):
    """What the library reads from: all frames but those that the wire has taken."""

    def __init__(self, wire: Wire, **options: Any) -> None:
        super().__init__(**options)
        self._wire = wire
        self._partial = b""
        self._shown_at_s = 0.0
        self._is_framed: bool | None = None  # a server of another protocol answers with a header that is no frame

    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        """Take apart what the socket has brought."""
        read = bytes(data)
        if self._is_framed is None:
            self._is_framed = not read.startswith(b"A")
        if not self._is_framed:
            super().feed_data(read)
            return
        self._partial, left, is_taken = self._taken_apart(self._partial + read if self._partial else read)
        if is_taken and not left:
            left = self._sign_of_life()
        if left:
            super().feed_data(b"".join(left))

    def feed_eof(self) -> None:
        """Note the end."""
        self._wire.note_end()
        super().feed_eof()

    def _taken_apart(self, data: bytes) -> tuple[bytes, list[bytes], bool]:
        """Return the beginning of an incomplete frame, the frames left to the library, and whether any was taken."""
        left, position, is_taken = [], 0, False
        while len(data) - position >= _FRAME.size:
            kind, number, size = _FRAME.unpack_from(data, position)
            end = position + size + frames.OVERHEAD_BYTES
            if end > len(data):
                break
            if self._wire.offer(number, kind, data[position + _FRAME.size : end - 1]):
                is_taken = True
            else:
                left.append(_for_library(kind, data[position:end]))
            position = end
        return data[position:], left, is_taken

    def _sign_of_life(self) -> list[bytes]:
        now_s = asyncio.get_running_loop().time()
        if now_s - self._shown_at_s < HEARTBEAT_EVERY_S:
            return []
        self._shown_at_s = now_s
        return [HEARTBEAT_FRAME]


def _for_library(kind: int, frame: bytes) -> bytes:
    """Return a frame that the library can read, which is nearly always the same."""
    payload = frame[_FRAME.size : -1]
    readable = frames.for_library(kind, payload)
    if readable is payload:
        return frame
    return _FRAME.pack(kind, int.from_bytes(frame[1:3], "big"), len(readable)) + readable + frames.FRAME_END


class WireTransportFactory(TransportFactory):
    """Connects with a reader and a writer that the wire is part of."""

    def __init__(self, wire: Wire, route: Route, *, context: ssl.SSLContext | None, server_name: str) -> None:
        """Prepare.

        Args:
            context: None for a connection without TLS.
            server_name: The name that the broker's certificate must have.
        """
        self._wire = wire
        self._route = route
        self._context = context
        self._server_name = server_name

    async def create(self, url: URL, **_: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:  # noqa: ARG002
        """Open the socket. The library passes what the route and the context stand for."""
        loop = asyncio.get_running_loop()
        reader = FrameReader(self._wire, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        connected = await self._route.connect()
        try:
            transport, _protocol = await loop.create_connection(
                lambda: protocol,
                sock=connected,
                ssl=self._context,
                server_hostname=None if self._context is None else self._server_name,
            )
        except BaseException:
            connected.close()
            raise
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        self._wire.attach(writer)
        return reader, writer
