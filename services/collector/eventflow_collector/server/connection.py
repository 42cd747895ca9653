"""One connection: plain requests are received synchronously, and the first other request hands it over to aiohttp.

    READING --another request--> LEAVING --all answers written--> GONE (aiohttp's protocol serves it from here on)
       |                            |
       `----last request------------+--> ENDING --all answers written--> GONE (closed)

No task, future or timer is made for a request. Its answer is written when the confirm of its last event calls back.
"""

import asyncio
import math
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from http import HTTPStatus
from typing import NoReturn, assert_never, cast

from typing_extensions import override

from eventflow.network.connection_limit import ConnectionLimit
from eventflow_collector.ingest import Exchange, Ingest, Reception
from eventflow_collector.intake.budget import ByteBudget
from eventflow_collector.responses import Response, problem, written
from eventflow_collector.server.closing import Closing
from eventflow_collector.server.peer import address_of
from eventflow_collector.server.plain import PlainRequest, Unread, read_plain
from eventflow_collector.server.protocol import ProblemProtocol

UNANSWERED_MAX = 32
"""Requests of one connection that may wait for their answers. aiohttp parses as many ahead."""

CHECK_EVERY_S = 0.5

INCOMPLETE_MAX_S = 0.5
"""Time after which aiohttp receives the rest of an incomplete request, with a limit on its duration."""


STALLED_MAX_S = 30.0
"""Time after which a connection is cut whose peer does not read its answers, if unread requests are kept for it. No key
is needed to send these, and some hundred such connections would take all the memory that requests may have."""


class State(Enum):
    """The states of a connection; see the module."""

    READING = auto()
    LEAVING = auto()
    ENDING = auto()
    GONE = auto()


class Shared:
    """The parts that all connections share, and the connections that are open."""

    def __init__(
        self,
        ingest: Ingest,
        *,
        budget: ByteBudget,
        limit: ConnectionLimit,
        closing: Closing,
        to_aiohttp: Callable[[], ProblemProtocol],
        on_crash: Callable[[BaseException], None],
    ) -> None:
        """Take the parts.

        Args:
            ingest: Receives the plain requests.
            budget: Bounds the memory of requests.
            limit: Bounds the number of connections.
            closing: Decides whether answers close their connections.
            to_aiohttp: Makes the protocol that serves a connection from its first request that is not plain.
            on_crash: Called with each unexpected error. Never raises.
        """
        self.ingest = ingest
        self.budget = budget
        self.limit = limit
        self.closing = closing
        self.to_aiohttp = to_aiohttp
        self.on_crash = on_crash
        self.open: set[Connection] = set()
        self._none_open = asyncio.Event()

    def forget(self, connection: "Connection") -> None:
        """Remove a connection that is closed, or that aiohttp serves. A second call changes nothing."""
        self.limit.forget(connection)
        self.open.discard(connection)
        if not self.open:
            self._none_open.set()

    async def watch(self, *, idle_max_s: float) -> NoReturn:
        """Check all connections regularly: one timer for all costs less than one for each."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(CHECK_EVERY_S, idle_max_s / 4))
            now_s = loop.time()
            for connection in list(self.open):
                connection.check(now_s, idle_max_s=idle_max_s)

    async def close(self, *, within_s: float) -> None:
        """Close all connections after the answers that are due; those that are still open after a time are cut."""
        for connection in list(self.open):
            connection.end()
        self._none_open.clear()
        if self.open:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._none_open.wait(), within_s)
        for connection in list(self.open):
            connection.abort()


class Connection(asyncio.Protocol, Exchange):
    """Reads a connection first, and writes the answers in the order of the requests.

    Attributes:
        stalled_since_s: Time by the loop's clock from which the peer has not read its answers; infinity if it reads.
    """

    __slots__ = (
        "_has_ended",
        "_has_more",
        "_idle_since_s",
        "_incomplete_since_s",
        "_is_body_incomplete",
        "_is_reading_paused",
        "_loop",
        "_receptions",
        "_reserved_bytes",
        "_rest",
        "_shared",
        "_state",
        "_transport",
        "stalled_since_s",
    )

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._loop = asyncio.get_running_loop()
        self._state = State.READING
        self._receptions: deque[Reception] = deque()  # whose answers are due, in the order of their requests
        self._rest = b""  # of the received bytes, not read yet
        self._has_more = False  # bytes have arrived behind the latest request
        self._reserved_bytes = 0  # of the budget, for `_rest`
        self._incomplete_since_s = math.inf
        self._is_body_incomplete = False
        self._is_reading_paused = False
        self._has_ended = False  # the peer has shut its writing side
        self._idle_since_s = self._loop.time()
        self.stalled_since_s = math.inf

    @property
    def idle_since_s(self) -> float | None:
        """Time by the loop's clock at which the last request ended; None while one is being served."""
        is_idle = not (self._receptions or self._is_body_incomplete) and self._may_receive
        return self._idle_since_s if is_idle else None

    @property
    @override
    def address(self) -> str | None:
        return address_of(self._transport)

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast("asyncio.Transport", transport)  # uvloop's transports do not derive from it
        self._transport = stream
        if not self._shared.limit.admit(self, stream, now_s=self._idle_since_s):
            stream.write(ProblemProtocol.refusal)
            self._close()
            return
        self._shared.open.add(self)
        _set_options(stream.get_extra_info("socket"))

    @override
    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
            self._forget_rest()
        try:
            self._read(data)
        except Exception as error:  # noqa: BLE001 - a bug
            self._crash(error)

    @override
    def eof_received(self) -> bool:
        """Keep the connection open while answers are due. An incomplete request is left to aiohttp."""
        self._has_ended = True
        if self._rest and self._state is State.READING:
            self._leave(self._rest)
            self._go_on_guarded()
        elif self._state is State.READING:
            self.end()
        return True  # it is closed here, and not by the transport

    @override
    def pause_writing(self) -> None:
        """Read nothing more from a peer that does not read its answers."""
        self.stalled_since_s = self._loop.time()
        self._pause_reading()

    @override
    def resume_writing(self) -> None:
        self.stalled_since_s = math.inf
        # Times count from here: the peer could not send while nothing was read.
        self._idle_since_s = self._loop.time()
        if self._incomplete_since_s != math.inf:
            self._incomplete_since_s = self._idle_since_s
        self._go_on_guarded()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        # The events of its requests are published nevertheless. Their answers find the connection gone.
        self._forget_all()

    def end(self) -> None:
        """Read no more requests, and close the connection after the answers that are due."""
        if self._state is not State.GONE:
            self._state = State.ENDING
            self._forget_rest()
            # Bytes that still arrive are dropped. If they stayed unread, the kernel would close the connection by a
            # reset, and the peer might lose its last answers.
            self._resume_reading()
            self._go_on_guarded()

    def abort(self) -> None:
        """Close the connection at once."""
        self._forget_all()
        self._transport.abort()

    def check(self, now_s: float, *, idle_max_s: float) -> None:
        """Close a connection that has been idle or stalled for too long, and leave an incomplete request to aiohttp."""
        is_slow = now_s - self._incomplete_since_s > INCOMPLETE_MAX_S
        if is_slow and self._may_receive:  # otherwise it is not the peer that is slow
            self._leave(self._rest)
            self._go_on_guarded()
        elif (since_s := self.idle_since_s) is not None and now_s - since_s > idle_max_s:
            self.end()
        elif self._rest and now_s - self.stalled_since_s > STALLED_MAX_S:
            self.abort()

    @override
    def answer(self, reception: Reception, response: Response) -> None:
        if reception.response is None:
            reception.response = response
            try:
                self._answered(response)
            except Exception as error:  # noqa: BLE001 - a bug, and an answer may be lost: the next would take its place
                self._crash(error)

    @override
    def fail(self, reception: Reception, error: Exception) -> None:
        self._shared.on_crash(error)
        self.answer(reception, problem(500, HTTPStatus.INTERNAL_SERVER_ERROR.description, closes=True))

    def _answered(self, response: Response) -> None:
        """Write all complete answers at the front, in one piece, after `response` has completed one of them."""
        if self._state is State.GONE:
            return
        if response.closes and self._state is not State.ENDING:
            # At once, although other answers may be due before it: no request behind this one is received.
            self._state = State.ENDING
            self._forget_rest()
        self._write_answers()
        self._go_on()

    def _crash(self, error: BaseException) -> None:
        """Cut the connection after an error that has left its answers or its bytes uncertain."""
        self._shared.on_crash(error)
        self.abort()

    def _write_answers(self) -> None:
        receptions, pieces = self._receptions, []
        while receptions and (response := receptions[0].response) is not None:
            if self._shared.closing.has_begun and self._is_last_answer:
                response = response._replace(closes=True)
                self._state = State.ENDING
            pieces.append(written(response, unix_s=int(time.time())))
            receptions.popleft()
            if response.closes:
                receptions.clear()  # of requests behind it, which are answered by the end of the connection
        if pieces:
            self._transport.write(b"".join(pieces))
            self._idle_since_s = self._loop.time()

    @property
    def _is_last_answer(self) -> bool:
        """Whether no other request is here, not even a part of one, which would get no answer behind this one."""
        return len(self._receptions) == 1 and not (self._rest or self._has_more)

    def _read(self, data: bytes) -> None:
        """Receive the plain requests at the front of `data`; keep the rest."""
        start, size = 0, len(data)
        while start < size and self._may_receive:
            request = read_plain(data, start)
            if not isinstance(request, PlainRequest):
                self._keep_unread(data[start:], request)
                self._go_on()
                return
            start = request.end
            self._has_more = start < size  # now, because it may be answered within `_receive`
            self._incomplete_since_s = math.inf
            self._receive(request)
        if start < size and self._state is State.READING:
            if self._keep(data[start:]):
                self._pause_reading()  # until `_go_on` reads the rest
            else:
                self._leave(data[start:])

    @property
    def _may_receive(self) -> bool:
        return (
            self._state is State.READING and len(self._receptions) < UNANSWERED_MAX and self.stalled_since_s == math.inf
        )

    def _receive(self, request: PlainRequest) -> None:
        head, body, _ = request
        reception = self._shared.ingest.begin(head, self)
        self._receptions.append(reception)
        try:
            reception.receive(body)
        except Exception as error:  # noqa: BLE001 - a bug, answered 500
            reception.fail(error)

    def _keep_unread(self, rest: bytes, reason: Unread) -> None:
        """Keep a request that is incomplete; leave any other to aiohttp, which reads it from its first byte."""
        if reason is Unread.NOT_PLAIN or not self._keep(rest):
            self._leave(rest)
            return
        self._is_body_incomplete = reason is Unread.INCOMPLETE_BODY
        if self._incomplete_since_s == math.inf:  # a request that arrives byte by byte keeps its first time
            self._incomplete_since_s = self._loop.time()

    def _keep(self, rest: bytes) -> bool:
        """Keep bytes that cannot be read yet; False if the budget does not allow it."""
        if not self._shared.budget.reserve(len(rest)):
            return False
        self._rest, self._reserved_bytes = rest, len(rest)
        return True

    def _forget_rest(self) -> None:
        self._rest = b""
        self._is_body_incomplete = False
        reserved_bytes, self._reserved_bytes = self._reserved_bytes, 0
        if reserved_bytes:
            self._shared.budget.release(reserved_bytes)

    def _leave(self, rest: bytes) -> None:
        """Hand the connection over as soon as the answers before `rest` are written."""
        self._forget_rest()
        self._rest = rest
        self._state = State.LEAVING
        self._pause_reading()

    def _go_on(self) -> None:
        """Take the next step, if the answers that are due, and the peer that reads them, allow one."""
        match self._state:
            case State.READING:
                if self._is_reading_paused and self._may_receive:
                    self._resume_reading()
                    rest = self._rest
                    self._forget_rest()
                    self._read(rest)
            case State.LEAVING:
                # Not while the peer does not read: aiohttp's protocol would not know that its writes must wait.
                if not self._receptions and self.stalled_since_s == math.inf:
                    self._hand_over()
            case State.ENDING:
                if not self._receptions:
                    self._close()
            case State.GONE:
                pass
            case _:
                assert_never(self._state)

    def _go_on_guarded(self) -> None:
        try:
            self._go_on()
        except Exception as error:  # noqa: BLE001 - a bug
            self._crash(error)

    def _hand_over(self) -> None:
        rest, transport = self._rest, self._transport
        if transport.is_closing():
            # The peer is gone, and `connection_lost` is already scheduled. aiohttp's protocol would get it before its
            # own task has started, which then fails.
            return
        self._forget_all()  # its place in the limit too, which aiohttp's protocol takes
        protocol = self._shared.to_aiohttp()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        self._resume_reading()  # before the data: aiohttp may pause it again because of them
        protocol.data_received(rest)
        if self._has_ended:
            # In the next tick, as the end of a connection always comes after its data: an incomplete request may be
            # refused by its head alone, and aiohttp's task has not seen it yet.
            self._loop.call_soon(_pass_on_end, protocol, transport)

    def _close(self) -> None:
        self._state = State.GONE
        self._transport.close()  # after it has sent the rest; then `connection_lost` is called

    def _forget_all(self) -> None:
        self._state = State.GONE
        self._receptions.clear()
        self._forget_rest()
        self._shared.forget(self)

    def _pause_reading(self) -> None:
        if not self._is_reading_paused:
            self._is_reading_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._is_reading_paused:
            self._is_reading_paused = False
            self._transport.resume_reading()


def _pass_on_end(protocol: ProblemProtocol, transport: asyncio.Transport) -> None:
    if not protocol.eof_received():
        transport.close()


def _set_options(connection: socket.socket | None) -> None:
    """Detect dead peers, and send each answer at once."""
    if connection is not None:
        with suppress(OSError):  # the peer may be gone already
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
