"""A target that costs almost nothing: it counts requests and answers each with 200."""

import asyncio
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, cast

import typer
import uvloop
from typing_extensions import override

from benchmarks.bench.instruments import loopback
from sandbox.ports import LOOPBACK

COUNT_PATH = "/_count"
_END = b"\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_LENGTH = b"content-length:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Number of requests up to a moment of the monotonic clock, which all processes of a machine share."""

    requests: int
    at_s: float


def read_count(url: str) -> Count:
    """Return the count of a running sink."""
    return Count(**json.loads(loopback.get(url + COUNT_PATH)))


def header_value(head: bytes, name: bytes) -> bytes | None:
    """Return the value of a header; `head` and `name` (with the colon) are in lower case."""
    at = head.find(b"\r\n" + name)
    if at < 0:
        return None
    start = at + 2 + len(name)
    end = head.find(b"\r\n", start)
    return head[start : end if end >= 0 else None].strip()


_READ_MAX_BYTES = 64 * 1024
_BUFFER = memoryview(bytearray(_READ_MAX_BYTES))
"""Place for the bytes of one read, for all connections, because each copies them at once."""


class Sink(asyncio.BufferedProtocol):
    """HTTP/1.1 connection for requests with a Content-Length.

    It is a `BufferedProtocol` so that it costs almost nothing over TLS too: for any other protocol, uvloop allocates
    and frees 256 KiB at each read.

    Args:
        take: Called with the head of each request in lower case; returns the answer.
    """

    def __init__(self, take: Callable[[bytes], bytes]) -> None:
        self._take = take
        self._received = b""

    @override
    def get_buffer(self, sizehint: int) -> memoryview:
        return _BUFFER

    @override
    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(_BUFFER[:nbytes]))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport for the answers."""
        # uvloop's class has the methods of Transport, but another base.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer each complete request."""
        received = self._received + data if self._received else data
        answers = []
        while (end := received.find(_END)) >= 0:
            head = received[:end].lower()
            whole = end + len(_END) + int(header_value(head, _LENGTH) or 0)
            if len(received) < whole:
                break
            answers.append(self._take(head))
            received = received[whole:]
        self._received = received
        if answers:
            self._transport.write(b"".join(answers))


class Counter:
    """Counter of requests, which also serves its count."""

    def __init__(self) -> None:
        self._count = 0

    def take(self, head: bytes) -> bytes:
        """Count a request, or answer with the count."""
        if head.startswith(b"get " + COUNT_PATH.encode()):
            count = json.dumps({"requests": self._count, "at_s": time.monotonic()}).encode()
            return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(count), count)
        self._count += 1
        return OK


async def serve(port: int, *, tls_port: int | None, pem: Path | None) -> None:
    """Serve until the process is ended."""
    counter, loop = Counter(), asyncio.get_running_loop()
    listen = partial(loop.create_server, lambda: Sink(counter.take), LOOPBACK, backlog=1024)
    servers = [await listen(port)]
    if tls_port is not None and pem is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pem)
        servers.append(await listen(tls_port, ssl=context))
    await asyncio.gather(*(server.serve_forever() for server in servers))


def main(
    port: int,
    tls_port: Annotated[int | None, typer.Option(help="Port for the same with TLS; needs --pem.")] = None,
    pem: Annotated[Path | None, typer.Option(help="Certificate and key of the port with TLS.")] = None,
) -> None:
    """Run the target until a signal."""
    uvloop.run(serve(port, tls_port=tls_port, pem=pem))


if __name__ == "__main__":
    typer.run(main)
