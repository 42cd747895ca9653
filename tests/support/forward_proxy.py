"""A small forward proxy: passes requests in absolute form on, and opens tunnels."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.support.raw_target import serving
from tests.support.sockets import pump

USER, PASSWORD = "agent", "pr0xy:s3cret/"

REFUSAL = b"HTTP/1.1 407 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(slots=True)
class ForwardProxy:
    """A proxy that listens on loopback.

    Attributes:
        heads: Head of each request to it, in order.
        asks_password: Whether it accepts requests of `USER` only.
        answer: Its answer to each request, instead of passing it on.
        is_silent: Whether it reads requests and does nothing.
    """

    port: int = 0
    heads: list[str] = field(default_factory=list)
    asks_password: bool = False
    answer: bytes | None = None
    is_silent: bool = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection: one tunnel, or one request after the other to one target."""
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            if self.is_silent:
                await reader.read()
            if self.answer is not None or (self.asks_password and not _has_password(head)):
                writer.write(REFUSAL if self.answer is None else self.answer)
                await writer.drain()
                return
            method, target, _ = head.split(" ", 2)
            if method == "CONNECT":
                await _tunnel(reader, writer, target)
                return
            await _pass_on(head, target, reader, writer)


@asynccontextmanager
async def forward_proxy(*, asks_password: bool = False, answer: bytes | None = None) -> AsyncIterator[ForwardProxy]:
    """Run a proxy."""
    proxy = ForwardProxy(asks_password=asks_password, answer=answer)
    async with serving(proxy.serve) as proxy.port:
        yield proxy


def _has_password(head: str) -> bool:
    expected = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    return f"Proxy-Authorization: Basic {expected}\r\n" in head


async def _pass_on(head: str, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    url = urlsplit(target)
    assert url.hostname is not None, f"not in absolute form: {head}"
    above = await asyncio.open_connection(url.hostname, url.port or 80)
    origin = f"{url.scheme}://{url.netloc}"
    lines = [line for line in head.replace(origin, "", 1).split("\r\n") if not line.startswith("Proxy-")]
    above[1].write("\r\n".join(lines).encode() + await reader.readexactly(_length_in(head)))
    answer = await above[0].readuntil(b"\r\n\r\n")
    writer.write(answer + await above[0].readexactly(_length_in(answer.decode())))
    await writer.drain()
    above[1].close()


def _length_in(head: str) -> int:
    return int(head.lower().partition("content-length:")[2].split("\r\n")[0])


async def _tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: str) -> None:
    host, _, port = target.rpartition(":")
    try:
        above = await asyncio.open_connection(host, int(port))
    except OSError:
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        return
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    await asyncio.gather(pump(reader, above[1]), pump(above[0], writer))
