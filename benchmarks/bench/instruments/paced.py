"""An open-loop sender, which keeps its schedule whether answers come or not, and the target of its events.

Times count from the planned moment of each request: otherwise a stalled service would also delay the sending, and its
stall would not show (coordinated omission). Sender and target are one process, so the way of an event from its 202 to
the target is measured with one clock.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, cast
from urllib.parse import urlsplit

import typer
import uvloop

from benchmarks.bench.figures import percentiles
from benchmarks.bench.instruments.sink import OK, Sink, header_value
from sandbox.ports import LOOPBACK

CONNECTIONS = 64
WARM_UP_S = 1.0
TICK_S = 0.001
POLL_S = 0.01
LAST_WITHIN_S = 10.0
ACCEPTED = 202
_ID = b"paced-"
_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Request that is sent repeatedly, each time with another number."""

    before: bytes
    after: bytes

    @classmethod
    def to(cls, url: str, body: bytes, headers: Sequence[str]) -> "Request":
        """Build a request; `headers` are header lines."""
        parts = urlsplit(url)
        lines = [f"POST {parts.path} HTTP/1.1", f"Host: {parts.netloc}", f"Content-Length: {len(body)}", *headers]
        before = "\r\n".join([*lines, "Idempotency-Key: "]).encode() + _ID
        return cls(before=before, after=_END + body)

    def numbered(self, number: int) -> bytes:
        """Return the bytes of the request with this number."""
        return b"%b%d%b" % (self.before, number, self.after)


class Connection(asyncio.Protocol):
    """Connection that carries one request at a time."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._received = b""
        self._number = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Join the idle connections."""
        # uvloop's class has the methods of Transport, but another base.
        self._transport = cast("asyncio.Transport", transport)
        self._load.idle.append(self)

    def send(self, number: int, request: bytes) -> None:
        """Send a request."""
        self._number = number
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Report an answer when it is complete."""
        self._received += data
        end = self._received.find(_END)
        if end < 0:
            return
        head = self._received[:end].lower()
        if len(self._received) >= end + len(_END) + int(header_value(head, b"content-length:") or 0):
            self._received = b""
            self._load.answered(self, self._number, int(head[9:12]))

    def connection_lost(self, _: Exception | None) -> None:
        """Report that the connection has ended."""
        self._load.lost(self)


class Load:
    """Planned, answered and delivered events, by number."""

    def __init__(self, request: Request, *, rate_per_s: float, for_s: float) -> None:
        self.idle: deque[Connection] = deque()
        self.refused = 0
        self._request = request
        self._rate_per_s = rate_per_s
        self._total = round(rate_per_s * (WARM_UP_S + for_s))
        self._due: deque[int] = deque()
        self._accepted_s: dict[int, float] = {}
        self._received_s: dict[int, float] = {}

    async def run(self) -> None:
        """Send all requests on schedule, and wait for the answers."""
        self._began_s = time.monotonic()
        planned = 0
        while planned < self._total:
            passed = min(self._total, int((time.monotonic() - self._began_s) * self._rate_per_s))
            self._due.extend(range(planned, passed))
            planned = passed
            self._send_due()
            await asyncio.sleep(TICK_S)
        await self._until(lambda: len(self._accepted_s) + self.refused >= self._total)

    async def until_received(self) -> None:
        """Wait until all accepted events have reached the target."""
        await self._until(lambda: self._accepted_s.keys() <= self._received_s.keys())

    def answered(self, connection: Connection, number: int, status: int) -> None:
        """Record an answer, and send requests that wait for a connection."""
        if status == ACCEPTED:
            self._accepted_s[number] = time.monotonic()
        else:
            self.refused += 1
        self.idle.append(connection)
        self._send_due()

    def lost(self, connection: Connection) -> None:
        """Count a lost connection as a refusal: no connection should end."""
        self.refused += 1
        if connection in self.idle:
            self.idle.remove(connection)

    def take(self, head: bytes) -> bytes:
        """Record an event at the target, and return the answer."""
        event_id = header_value(head, b"idempotency-key:") or b""
        if event_id.startswith(_ID):
            self._received_s.setdefault(int(event_id.removeprefix(_ID)), time.monotonic())
        return OK

    def result(self) -> dict[str, float]:
        """Return the figures of the load, without the warm-up."""
        first = round(self._rate_per_s * WARM_UP_S)
        accepted = {number: at_s for number, at_s in self._accepted_s.items() if number >= first}
        answers_s = [at_s - self._began_s - number / self._rate_per_s for number, at_s in accepted.items()]
        ways_s = [
            max(0.0, self._received_s[number] - accepted[number])
            for number in accepted.keys() & self._received_s.keys()
        ]
        return {
            "accepted": len(accepted),
            "refused": self.refused,
            "missing": len(accepted) - len(ways_s),
            **percentiles("answer", answers_s),
            **percentiles("way", ways_s),
        }

    def _send_due(self) -> None:
        while self._due and self.idle:
            number = self._due.popleft()
            self.idle.popleft().send(number, self._request.numbered(number))

    async def _until(self, condition: Callable[[], bool]) -> None:
        for _ in range(round(LAST_WITHIN_S / POLL_S)):
            if condition():
                return
            await asyncio.sleep(POLL_S)


async def send(url: str, request: Request, *, rate_per_s: float, for_s: float, target_port: int | None) -> None:
    """Run a load, wait for its events if there is a target, and print the figures."""
    loop = asyncio.get_running_loop()
    load = Load(request, rate_per_s=rate_per_s, for_s=for_s)
    if target_port is not None:
        await loop.create_server(lambda: Sink(load.take), LOOPBACK, target_port, backlog=1024)
    address = urlsplit(url)
    for _ in range(CONNECTIONS):
        await loop.create_connection(lambda: Connection(load), address.hostname or LOOPBACK, address.port or 80)
    await load.run()
    if target_port is not None:
        await load.until_received()
    print(json.dumps(load.result()))


def main(
    url: str,
    body: Path,
    rate_per_s: float,
    for_s: float,
    header: Annotated[list[str] | None, typer.Option(help="Header line of the request; may be repeated.")] = None,
    target_port: Annotated[
        int | None, typer.Option(help="Port of the target; without it, events are not awaited.")
    ] = None,
) -> None:
    """Send events on schedule, and print the times until they were accepted and delivered."""
    request = Request.to(url, body.read_bytes(), header or [])
    uvloop.run(send(url, request, rate_per_s=rate_per_s, for_s=for_s, target_port=target_port))


if __name__ == "__main__":
    typer.run(main)
