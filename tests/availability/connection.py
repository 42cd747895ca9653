"""HTTP connections of the load: one request at a time, and nothing is sent twice."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from ssl import SSLContext
from typing import Self, cast
from urllib.parse import urlsplit

CONNECT_TIMEOUT_S = 10.0
_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Address that events are posted to.

    Attributes:
        ssl: TLS for an `https` URL, with the certificates to trust.
    """

    host: str
    port: int
    path: str
    ssl: SSLContext | None

    @classmethod
    def of(cls, url: str, *, ssl: SSLContext | None = None) -> Self:
        """Read a URL."""
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return cls(host=parts.hostname or "", port=port, path=parts.path or "/", ssl=ssl)

    def request(self, event_id: str, body: bytes, *, api_key: str, keeps: bool) -> bytes:
        """Return the bytes of a request; `keeps` asks the server to keep the connection."""
        lines = [
            f"POST {self.path} HTTP/1.1",
            f"Host: {self.host}:{self.port}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            f"X-Api-Key: {api_key}",
            f"Idempotency-Key: {event_id}",
            *([] if keeps else ["Connection: close"]),
        ]
        return "\r\n".join(lines).encode() + _END + body


class Connection(asyncio.Protocol):
    """Connection to the collectors.

    Unlike many clients it never repeats a request, not even on a kept connection that the server has closed meanwhile.
    """

    def __init__(
        self, *, keeps: bool, on_free: Callable[["Connection"], None], on_lost: Callable[["Connection"], None]
    ) -> None:
        self._keeps = keeps
        self._on_free = on_free
        self._on_lost = on_lost
        self._received = b""
        self._answered: asyncio.Future[str] | None = None

    @classmethod
    async def open(
        cls,
        to: Address,
        *,
        keeps: bool,
        on_free: Callable[["Connection"], None],
        on_lost: Callable[["Connection"], None],
    ) -> "Connection":
        """Connect.

        Args:
            keeps: Whether the connection stays open after an answer.
            on_free: Called when a kept connection can carry another request.
            on_lost: Called at the end of the connection.

        Raises:
            OSError: The connection was refused or reset.
            TimeoutError: Nothing has answered.
        """
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: cls(keeps=keeps, on_free=on_free, on_lost=on_lost), to.host, to.port, ssl=to.ssl
            )
        return connection

    async def post(self, request: bytes) -> str:
        """Send a request and return the problem with its answer; empty for a 202."""
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answered

    def close(self) -> None:
        """End the connection at once."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's class has the methods of Transport, but another base
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(_END)
        if end < 0:
            return
        head = self._received[:end].lower()
        length = _value(head, b"content-length")
        if length is None or len(self._received) < end + len(_END) + int(length):
            return  # an answer without a length ends with its connection
        self._received = b""
        stays = self._keeps and _value(head, b"connection") != b"close"
        if not stays:
            self._transport.close()
        self._report(head)
        if stays:
            self._on_free(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._on_lost(self)
        self._report(self._received.lower(), reason=type(error).__name__ if error else "closed")

    def _report(self, head: bytes, *, reason: str = "closed") -> None:
        if self._answered is None or self._answered.done():
            return
        status = head[9:12].decode(errors="replace") if head.startswith(b"http/1.") else f"no answer: {reason}"
        self._answered.set_result("" if status == "202" else status)


def _value(head: bytes, name: bytes) -> bytes | None:
    """Return the value of a header in a head in lower case."""
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key == name:
            return value.strip()
    return None
