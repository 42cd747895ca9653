"""A target that costs almost nothing: it counts requests and answers 200 to each."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import typer
import uvloop

from benchmarks.bench.instruments import loopback
from sandbox.ports import LOOPBACK

COUNT_PATH = "/_count"
_END = b"\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_LENGTH = b"content-length:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many requests had come at a moment of the machine's monotonic clock."""

    requests: int
    at_s: float


def read_count(url: str) -> Count:
    """Ask a running sink."""
    return Count(**json.loads(loopback.get(url + COUNT_PATH)))


def header_value(head: bytes, name: bytes) -> bytes | None:
    """Return the value of a header; `head` and `name` (with its colon) are in lower case."""
    at = head.find(b"\r\n" + name)
    if at < 0:
        return None
    start = at + 2 + len(name)
    end = head.find(b"\r\n", start)
    return head[start : end if end >= 0 else None].strip()


class Sink(asyncio.Protocol):
    """One connection of HTTP/1.1 with bodies of a stated length.

    Args:
        take: Called with each request's head in lower case, and what it returns is the answer.
    """

    def __init__(self, take: Callable[[bytes], bytes]) -> None:
        self._take = take
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class has the methods, not the base

    def data_received(self, data: bytes) -> None:
        """Answer each request that is whole."""
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
    """Counts requests, and tells the count to who asks."""

    def __init__(self) -> None:
        self._count = 0

    def take(self, head: bytes) -> bytes:
        """Count a request, or tell."""
        if head.startswith(b"get " + COUNT_PATH.encode()):
            told = json.dumps({"requests": self._count, "at_s": time.monotonic()}).encode()
            return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(told), told)
        self._count += 1
        return OK


async def serve(port: int) -> None:
    """Listen for ever."""
    counter = Counter()
    server = await asyncio.get_running_loop().create_server(lambda: Sink(counter.take), LOOPBACK, port, backlog=1024)
    await server.serve_forever()


def main(port: int) -> None:
    """Run the target until a signal."""
    uvloop.run(serve(port))


if __name__ == "__main__":
    typer.run(main)
