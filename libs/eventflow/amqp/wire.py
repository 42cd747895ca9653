"""Below the AMQP library: frames of claimed channels, written and read many at a time (ADR 12).

Connecting, TLS, heartbeats, opening channels, declaring queues and starting consumers remain with the library. On a
channel that a handler has claimed, publishes, acks, confirms and deliveries bypass it: all frames of one tick of the
event loop are one write, and all frames of one read are parsed in one loop.

This module uses two public parts of aiormq, the transport factory and the number of a channel. It relies on the fact
that nothing else in the library needs the frames that bypass it. `is_supported` returns whether the installed version
was tested.
"""

import asyncio
import ssl
from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import Any, Protocol, SupportsIndex

from aiormq.connection import TransportFactory
from typing_extensions import override
from yarl import URL

from eventflow.amqp import frames
from eventflow.network.route import Route

TESTED_VERSIONS = ("7.2.", "7.3.")

HEARTBEAT_FRAME = b"\x08\x00\x00\x00\x00\x00\x00\xce"
HEARTBEAT_EVERY_S = 2.0
"""aiormq aborts a connection if it has read no frame for 16.5 s. If all frames of a busy connection bypass it, the
connection seems dead. So aiormq gets a heartbeat frame from us, more often than the broker sends one."""


def is_supported() -> bool:
    """Whether this module was tested with the installed library. If not, callers use the library's own methods."""
    return version("aiormq").startswith(TESTED_VERSIONS)


class FrameHandler(Protocol):
    """Handles the frames of one channel."""

    def handle(self, read: bytes, start: int, end: int) -> int:
        """Handle the frame from `start` to `end`, and any number of those that follow it. Never raises.

        Args:
            read: Received bytes. Later frames in it may belong to other channels, and the last may be incomplete.
            start: Position of the frame, which is complete.
            end: The position after it.

        Returns:
            The position after the last frame that was handled; `start` to leave the frame to the library.
        """


class ConnectionWatcher(FrameHandler):
    """Reads the announcements of the broker about the connection, and leaves each frame to the library.

    Attributes:
        close_reason: The reason for which the broker closes the connection. While a connection is being made, the
            library's error shows the object that holds the reason, not the reason itself.
        is_blocked: Whether the broker blocks publishing. The library has no property for it, only a coroutine that
            waits for the end of the alarm.
    """

    def __init__(self) -> None:
        self.close_reason: str | None = None
        self.is_blocked = False

    @override
    def handle(self, read: bytes, start: int, end: int) -> int:
        payload = frames.payload_of(read, start, end)
        match frames.method_of(payload) if read[start] == frames.METHOD else None:
            case frames.CONNECTION_CLOSE:
                self.close_reason = frames.close_reason_of(payload)
            case frames.CONNECTION_BLOCKED:
                self.is_blocked = True
            case frames.CONNECTION_UNBLOCKED:
                self.is_blocked = False
        return start


class Wire:
    """The socket of one connection, shared with the library: frames out in batches, frames in by channel."""

    def __init__(self) -> None:
        self._writer: asyncio.StreamWriter | None = None
        self._watcher = ConnectionWatcher()
        self._handlers: dict[int, FrameHandler] = {0: self._watcher}  # methods of the connection itself
        self._unsent: list[bytes] = []
        self._last: list[Callable[[], bytes]] = []
        self._is_at_end = False

    @property
    def close_reason(self) -> str | None:
        """The broker's reason for closing the connection; None if it does not close it."""
        return self._watcher.close_reason

    @property
    def is_blocked(self) -> bool:
        """Whether the broker blocks publishing on this connection, because of a memory or disk alarm."""
        return self._watcher.is_blocked

    @property
    def is_lost(self) -> bool:
        """Whether the connection is closed, or is about to be closed by either side."""
        return (
            self._writer is None
            or self.close_reason is not None
            or self._writer.transport.is_closing()
            or self._is_at_end
        )

    def note_end(self) -> None:
        """Note that the broker sends nothing more."""
        self._is_at_end = True

    def claim_channel(self, number: int, handler: FrameHandler) -> None:
        """Offer each frame of a channel to `handler` first, from now on."""
        self._handlers[number] = handler

    def release_channel(self, number: int) -> None:
        """Offer no more frames of a channel to its handler: it is closed, and its number can be used again."""
        self._handlers.pop(number, None)

    def send(self, frames: bytes) -> None:
        """Write whole frames at the end of this tick of the event loop, together with all others of the tick."""
        # One system call for all publishes of a tick. Each piece consists of whole frames. The library writes its own
        # frames to the same writer, so they can only come between two pieces and never inside one.
        if not self._unsent:
            self._flush_soon()
        self._unsent.append(frames)

    def send_last(self, frames_of: Callable[[], bytes]) -> None:
        """Write the whole frames that `frames_of` returns at the end of this tick, after those of `send`."""
        self._flush_soon()
        self._last.append(frames_of)

    def attach(self, writer: asyncio.StreamWriter) -> None:
        """Use this writer from now on."""
        self._writer = writer

    def abort(self) -> None:
        """Abort the connection and drop all unsent frames."""
        if self._writer is not None:
            self._writer.transport.abort()

    def offer(self, number: int, read: bytes, start: int, end: int) -> int:
        """Offer a received frame, and those after it, to the handler of its channel, as `FrameHandler.handle`."""
        handler = self._handlers.get(number)
        return start if handler is None else handler.handle(read, start, end)

    def _flush_soon(self) -> None:
        if not (self._unsent or self._last):
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        unsent, last = self._unsent, self._last
        self._unsent, self._last = [], []
        unsent += (frames_of() for frames_of in last)
        # The end of a connection is not reported here: its session ends, and with it every unresolved publish and every
        # unsettled delivery.
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(b"".join(unsent))


class FrameReader(asyncio.StreamReader):
    """The stream that the library reads from: all frames except those that a handler has handled.

    The library reads a frame in two steps, its header and then the rest. This works because only whole frames are
    passed on, in their order.
    """

    def __init__(self, wire: Wire, **options: Any) -> None:
        super().__init__(**options)
        self._wire = wire
        self._partial = b""
        self._shown_at_s = 0.0
        self._is_framed: bool | None = None  # unknown until the first bytes

    @override
    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        read = bytes(data)
        # A server without this version of AMQP does not answer with a frame, but with its protocol header: "AMQP" and a
        # version. Parsed as a frame, it would have a length of 1.3 GB, and the library would never get it. No frame
        # begins with an "A": the types of frames are 1, 2, 3 and 8.
        if self._is_framed is None:
            self._is_framed = not read.startswith(b"A")
        if not self._is_framed:
            super().feed_data(read)
            return
        self._partial, left, is_taken = self._parse(self._partial + read if self._partial else read)
        if is_taken and not left:
            left = self._sign_of_life()
        if left:
            super().feed_data(b"".join(left))

    @override
    def feed_eof(self) -> None:
        self._wire.note_end()
        super().feed_eof()

    def _parse(self, data: bytes) -> tuple[bytes, list[bytes], bool]:
        """Return the beginning of an incomplete frame, the frames left to the library, and whether any was handled."""
        left, position, is_taken = [], 0, False
        while len(data) - position >= frames.HEAD_BYTES:
            kind, number, size = frames.FRAME_HEAD.unpack_from(data, position)
            end = position + size + frames.OVERHEAD_BYTES
            if end > len(data):
                break
            # The end octet is not checked here: the lengths suffice to find the next frame, and the library checks the
            # frames that it gets.
            handled_to = self._wire.offer(number, data, position, end)
            if handled_to > position:
                is_taken, position = True, handled_to
            else:
                left.append(_for_library(kind, data[position:end]))
                position = end
        # The rest is copied only here, once for each read. Slicing after each frame would copy it for every frame.
        return data[position:], left, is_taken

    def _sign_of_life(self) -> list[bytes]:
        """Return a heartbeat frame for the library, if the last one was passed on more than 2 s ago."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._shown_at_s < HEARTBEAT_EVERY_S:
            return []
        self._shown_at_s = now_s
        return [HEARTBEAT_FRAME]


def _for_library(kind: int, frame: bytes) -> bytes:
    """Return a frame that the library can read: usually the same one."""
    payload = frame[frames.HEAD_BYTES : -1]
    readable = frames.for_library(kind, payload)
    if readable is payload:
        return frame
    return frames.FRAME_HEAD.pack(kind, int.from_bytes(frame[1:3], "big"), len(readable)) + readable + frames.FRAME_END


class WireTransportFactory(TransportFactory):
    """Connects the library over a route of ours, with a reader and a writer that the wire shares."""

    def __init__(self, wire: Wire, route: Route, *, context: ssl.SSLContext | None, server_name: str) -> None:
        """Prepare.

        Args:
            wire: Takes part in the connection.
            route: The way to the broker.
            context: None for a connection without TLS.
            server_name: The name that the broker's certificate must have.
        """
        self._wire = wire
        self._route = route
        self._context = context
        self._server_name = server_name

    @override
    async def create(self, url: URL, **_: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        # The URL and the options of the library are unused: the route and the context take their place.
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
            connected.close()  # without a transport, nothing else closes the socket
            raise
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        self._wire.attach(writer)
        return reader, writer
