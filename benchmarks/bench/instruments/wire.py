"""AMQP 0.9.1 on a bare socket: a client that costs almost nothing, to fill queues and to measure the broker's ceilings.

It implements only the part of the protocol that the benchmark needs: one channel, no heartbeats, no recovery.
"""

import json
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Annotated, Self, TypeVar
from urllib.parse import unquote, urlsplit

import typer
from pamqp import commands, frame
from pamqp.base import Frame
from pamqp.header import ProtocolHeader

from benchmarks.bench.figures import MeasureError, percentiles
from benchmarks.bench.instruments.messages import Frames, frames
from sandbox.broker.probes import BrokerAddress

CHUNK = 100
"""Largest number of messages in one write, and of deliveries in one ack."""

WRITES = 10
"""Number of writes that fill the window of unconfirmed messages, so that it never waits for its last confirm."""

TICK_S = 0.001

TIMEOUT_S = 60.0
_RECEIVE_BYTES = 256 * 1024
_HEAD = struct.Struct(">BHI")
_METHOD = 1
_ACK = struct.Struct(">HHQB")
_BASIC, _BASIC_DELIVER, _BASIC_ACK = 60, 60, 80


Answer = TypeVar("Answer", bound=Frame)


class WireError(MeasureError):
    """The broker sent another frame than the expected one."""


class Wire:
    """Connection with one channel. Use it as a context manager."""

    def __init__(self, url: str) -> None:
        """Connect and open the channel.

        Raises:
            WireError: The broker refuses, or its URL asks for TLS.
        """
        address = BrokerAddress.of(url)
        if address.encrypted:
            raise WireError("the benchmark needs a broker that is reached without TLS")
        self._socket = socket.create_connection((address.host, address.port), timeout=TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = bytearray()
        self._confirms = Confirms()
        self._socket.sendall(frame.marshal(ProtocolHeader(0, 9, 1), 0))
        start = self._expect(commands.Connection.Start)
        self.broker_version = str(start.server_properties.get("version", "unknown"))
        login = f"\0{address.login}\0{address.password}"
        self._send(commands.Connection.StartOk({}, "PLAIN", login, "en_US"), channel=0)
        tune = self._expect(commands.Connection.Tune)
        self._send(commands.Connection.TuneOk(tune.channel_max, tune.frame_max, 0), channel=0)
        self._send(commands.Connection.Open(unquote(urlsplit(url).path[1:]) or "/"), channel=0)
        self._expect(commands.Connection.OpenOk)
        self._call(commands.Channel.Open(), commands.Channel.OpenOk)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def declare(self, queue: str, arguments: Mapping[str, str | int]) -> None:
        """Declare a durable queue."""
        declare = commands.Queue.Declare(queue=queue, durable=True, arguments=dict(arguments))
        self._call(declare, commands.Queue.DeclareOk)

    def has(self, queue: str) -> bool:
        """Return whether a queue exists. If not, the broker closes the channel, so a new one is opened."""
        self._send(commands.Queue.Declare(queue=queue, passive=True))
        try:
            self._expect(commands.Queue.DeclareOk)
        except WireError:
            self._send(commands.Channel.CloseOk())
            self._call(commands.Channel.Open(), commands.Channel.OpenOk)
            return False
        return True

    def depth(self, queue: str) -> int:
        """Return the number of ready messages in a queue."""
        answer = self._call(commands.Queue.Declare(queue=queue, passive=True), commands.Queue.DeclareOk)
        return answer.message_count or 0

    def purge(self, queue: str) -> None:
        """Delete the ready messages of a queue."""
        self._call(commands.Queue.Purge(queue=queue), commands.Queue.PurgeOk)

    @contextmanager
    def emptied(self, queue: str | None) -> Iterator[None]:
        """Purge a queue at the start and at the end of the context."""
        if queue is None:
            yield
            return
        self.purge(queue)
        yield
        self.purge(queue)

    def publish(self, message: Frames, *, in_flight: int, count: int | None = None, for_s: float | None = None) -> int:
        """Publish up to a count or for a time; return the number of confirmed messages.

        Args:
            in_flight: Largest number of unconfirmed messages.

        Raises:
            WireError: A message was refused or returned.
        """
        self._call(commands.Confirm.Select(), commands.Confirm.SelectOk)
        ends_s = time.monotonic() + (for_s or TIMEOUT_S * 60)
        first = sent = self._confirms.count  # delivery tags continue over the life of the channel
        goal = None if count is None else first + count
        chunk = max(1, min(CHUNK, in_flight // WRITES))
        while goal is None or self._confirms.count < goal:
            if goal is None and time.monotonic() >= ends_s:
                goal = sent
            room = chunk if goal is None else min(chunk, goal - sent)
            if room and sent - self._confirms.count + room <= in_flight:
                self._socket.sendall(b"".join(map(message.numbered, range(sent, sent + room))))
                sent += room
            elif self._confirms.count < sent:
                for kind, payload in self._frames():
                    self._confirms.add(kind, payload)
        return sent - first

    def pace(self, message: Frames, *, in_flight: int, rate_per_s: float, for_s: float) -> list[float]:
        """Publish on schedule; return, for each message, the seconds from its planned time to its confirm.

        Args:
            in_flight: Largest number of unconfirmed messages; messages above it wait, and their time counts.

        Raises:
            WireError: A message was refused or returned.
        """
        self._call(commands.Confirm.Select(), commands.Confirm.SelectOk)
        first, total = self._confirms.count, round(rate_per_s * for_s)
        began_s, sent = time.monotonic(), 0
        took_s = [0.0] * total
        while (confirmed := self._confirms.count - first) < total:
            planned = min(total, int((time.monotonic() - began_s) * rate_per_s))
            room = min(planned - sent, in_flight - (sent - confirmed))
            if room > 0:
                self._socket.sendall(b"".join(map(message.numbered, range(sent, sent + room))))
                sent += room
            if select.select([self._socket], [], [], TICK_S)[0]:
                tags = [tag for kind, payload in self._frames() for tag in self._confirms.add(kind, payload)]
                now_s = time.monotonic()
                for number in (tag - first - 1 for tag in tags):  # the first tag of a channel is 1
                    took_s[number] = now_s - began_s - number / rate_per_s
        return took_s

    def consume(self, queue: str, *, prefetch: int, count: int | None = None, for_s: float | None = None) -> int:
        """Consume and ack messages up to a count or for a time; return their number."""
        self._call(commands.Basic.Qos(prefetch_count=prefetch), commands.Basic.QosOk)
        self._call(commands.Basic.Consume(queue=queue), commands.Basic.ConsumeOk)
        ends_s = time.monotonic() + (for_s or TIMEOUT_S * 60)
        taken = acked = 0
        while time.monotonic() < ends_s and (count is None or taken < count):
            taken += sum(
                kind == _METHOD and struct.unpack_from(">HH", payload) == (_BASIC, _BASIC_DELIVER)
                for kind, payload in self._frames()
            )
            if taken - acked >= min(CHUNK, prefetch // 2) or taken == count:
                self._send(commands.Basic.Ack(delivery_tag=taken, multiple=True))
                acked = taken
        self.depth(queue)  # its answer shows that the broker has processed the acks
        return acked

    def _call(self, method: Frame, answer: type[Answer]) -> Answer:
        self._send(method)
        return self._expect(answer)

    def _send(self, method: Frame, *, channel: int = 1) -> None:
        self._socket.sendall(frame.marshal(method, channel))

    def _expect(self, kind: type[Answer]) -> Answer:
        """Wait for a method, and skip deliveries in the meantime."""
        while True:
            while (end := _end_of_frame(self._received, 0)) is None:
                self._receive()
            whole = bytes(self._received[:end])
            del self._received[:end]
            if whole[0] != _METHOD:
                continue
            _, _, method = frame.unmarshal(whole)
            if isinstance(method, kind):
                return method
            if isinstance(method, commands.Channel.Close | commands.Connection.Close):
                raise WireError(method.reply_text)

    def _frames(self) -> Iterator[tuple[int, memoryview]]:
        """Yield type and payload of each complete frame in the buffer; wait if there is none."""
        received, at = bytes(self._received), 0
        while (end := _end_of_frame(received, at)) is None:
            self._receive()
            received = bytes(self._received)
        view = memoryview(received)
        while end is not None:
            yield received[at], view[at + _HEAD.size : end - 1]
            at, end = end, _end_of_frame(received, end)
        del self._received[:at]

    def _receive(self) -> None:
        more = self._socket.recv(_RECEIVE_BYTES)
        if not more:
            raise WireError("the broker has closed the connection")
        self._received += more


def _end_of_frame(received: bytes | bytearray, at: int) -> int | None:
    """Return the end of the frame that starts at `at`; None if it is incomplete."""
    if len(received) - at < _HEAD.size:
        return None
    _, _, size = _HEAD.unpack_from(received, at)
    end: int = at + _HEAD.size + size + 1
    return end if end <= len(received) else None


class Confirms:
    """Confirmed publishes of a channel: all up to a tag, and some after it."""

    def __init__(self) -> None:
        self._through = 0
        self._beyond: set[int] = set()

    @property
    def count(self) -> int:
        """Number of confirmed publishes, including those after a gap."""
        return self._through + len(self._beyond)

    def add(self, kind: int, payload: memoryview) -> Sequence[int]:
        """Record a frame of the broker, and return the tags that it confirms.

        Raises:
            WireError: The frame is not an ack.
        """
        if kind != _METHOD or len(payload) != _ACK.size:
            raise WireError("a publish was refused or returned")
        class_id, method_id, tag, multiple = _ACK.unpack(payload)
        if (class_id, method_id) != (_BASIC, _BASIC_ACK):
            raise WireError("a publish was refused or returned")
        tags = [each for each in range(self._through + 1, tag + 1) if each not in self._beyond] if multiple else [tag]
        if multiple:
            self._through = max(self._through, tag)
            self._beyond = {beyond for beyond in self._beyond if beyond > self._through}
        else:
            self._beyond.add(tag)
        while self._through + 1 in self._beyond:
            self._through += 1
            self._beyond.remove(self._through)
        return tags


app = typer.Typer()


@app.command()
def publish(
    url: str,
    queue: str,
    body: Path,
    in_flight: int,
    count: Annotated[int | None, typer.Option(help="Number of messages.")] = None,
    for_s: Annotated[float | None, typer.Option(help="Seconds, if no count is given.")] = None,
) -> None:
    """Publish persistent messages of our collector and wait for all confirms."""
    message = frames("ours", body.read_bytes(), queue=queue)
    _print_cost(url, lambda wire: wire.publish(message, in_flight=in_flight, count=count, for_s=for_s))


@app.command()
def consume(
    url: str,
    queue: str,
    prefetch: int,
    count: Annotated[int | None, typer.Option(help="Number of messages.")] = None,
    for_s: Annotated[float | None, typer.Option(help="Seconds, if no count is given.")] = None,
) -> None:
    """Consume messages and ack them."""
    _print_cost(url, lambda wire: wire.consume(queue, prefetch=prefetch, count=count, for_s=for_s))


@app.command()
def pace(url: str, queue: str, body: Path, in_flight: int, rate_per_s: float, warm_up_s: float, for_s: float) -> None:
    """Publish messages on schedule, and print percentiles of the times until their confirms, without the warm-up."""
    message = frames("ours", body.read_bytes(), queue=queue)
    with Wire(url) as wire:
        took_s = wire.pace(message, in_flight=in_flight, rate_per_s=rate_per_s, for_s=warm_up_s + for_s)
    print(json.dumps(percentiles("answer", took_s[round(warm_up_s * rate_per_s) :])))


def _print_cost(url: str, run: Callable[[Wire], int]) -> None:
    """Print the number of messages, and the time and the CPU time that they took."""
    with Wire(url) as wire:
        started_s, used_s = time.monotonic(), time.process_time()
        events = run(wire)
        cost = {"seconds": time.monotonic() - started_s, "cpu_s": time.process_time() - used_s}
    print(json.dumps({"events": events, **cost}))


if __name__ == "__main__":
    app()
