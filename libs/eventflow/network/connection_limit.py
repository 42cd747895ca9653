"""A limit on the open HTTP connections of one listener.

Each connection costs a file descriptor, and any client that reaches the listener can open connections without a key. A
process without free descriptors cannot open its spool, reach its broker or answer its operator.
"""

import asyncio
import heapq
import math
from typing import Any, ClassVar, Protocol, cast

from aiohttp import web
from typing_extensions import override

STALLED_S = 5.0
"""Time after which a connection may be closed for another if its peer reads no answers."""

CLOSED_AT_ONCE_SHARE = 1 / 32
"""Share of the limit that is closed together: looking for the longest idle passes over all connections."""


class Bounded(Protocol):
    """A connection that counts against a limit."""

    @property
    def idle_since_s(self) -> float | None:
        """Time by the loop's clock at which the last request ended; None while one is being served."""

    @property
    def stalled_since_s(self) -> float:
        """Time by the loop's clock from which the peer has not read its answers; infinity if it reads."""


class ConnectionLimit:
    """The open connections of one listener, at most `limit`.

    A new connection beyond the limit replaces those that have been idle for the longest, or those with peers that do
    not read their answers. If there are none, the new one is refused: a request in progress is never cut off.

    Attributes:
        closed_idle: Number of connections that were closed for new ones.
        refused: Number of new connections that were refused.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: dict[Bounded, asyncio.Transport] = {}
        self.closed_idle = 0
        self.refused = 0

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, newcomer: Bounded, transport: asyncio.Transport, *, now_s: float) -> bool:
        """Count a new connection; False if there is no room for it."""
        if len(self._open) >= self._limit and not self._make_room(now_s):
            self.refused += 1
            return False
        self._open[newcomer] = transport
        return True

    def forget(self, protocol: Bounded) -> None:
        """Remove a connection that is closed."""
        self._open.pop(protocol, None)

    def _make_room(self, now_s: float) -> bool:
        since_s = {
            protocol: since_s
            for protocol, transport in self._open.items()
            if (since_s := _unused_since_s(protocol, transport, now_s)) is not None
        }
        count = max(1, int(self._limit * CLOSED_AT_ONCE_SHARE))
        for protocol in heapq.nsmallest(count, since_s, key=since_s.__getitem__):
            # Cut, because an orderly close waits until the peer has read all that is unsent, which may never happen.
            self._open.pop(protocol).abort()
            self.closed_idle += 1
        return bool(since_s)


class BoundedProtocol(web.RequestHandler):
    """aiohttp's HTTP protocol, on a connection that counts against a limit."""

    __slots__ = ("_connections", "stalled_since_s")

    refusal: ClassVar[bytes] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    """The answer on a connection for which there is no room."""

    def __init__(self, manager: web.Server, *, connections: ConnectionLimit, **options: Any) -> None:
        super().__init__(manager, **options)
        self._connections = connections
        self.stalled_since_s = math.inf

    @property
    def idle_since_s(self) -> float | None:
        """Time by the loop's clock at which the last request ended; None while one is being served."""
        # aiohttp publishes neither: it waits on `_waiter` between requests, and sets the time of the next close when a
        # request has ended.
        if self._waiter is None or self._waiter.done():
            return None
        return self._next_keepalive_close_time - self._keepalive_timeout

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast("asyncio.Transport", transport)  # uvloop's transports do not derive from it
        if self._connections.admit(self, stream, now_s=self._loop.time()):
            super().connection_made(stream)
            return
        self.transport = stream
        stream.write(self.refusal)
        self.force_close()

    @override
    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.forget(self)
        super().connection_lost(exc)

    @override
    def pause_writing(self) -> None:  # the peer has stopped reading its answers
        super().pause_writing()
        self.stalled_since_s = self._loop.time()

    @override
    def resume_writing(self) -> None:
        super().resume_writing()
        self.stalled_since_s = math.inf


def _unused_since_s(protocol: Bounded, transport: asyncio.Transport, now_s: float) -> float | None:
    """Return the time from which a connection has served nothing; None if it must stay."""
    if transport.is_closing():  # still open although it is closing: its peer does not read the unsent rest
        return -math.inf
    if now_s - protocol.stalled_since_s > STALLED_S:
        return protocol.stalled_since_s
    return protocol.idle_since_s
