"""One connection to a target: sends a request, reads its answer, and is kept for the next request.

Bytes count as an answer only between a request and the end of its answer. Any other byte closes the connection, and the
answer before it stands (ADR 16). An answer belongs to the user of the connection at that time, so a user that gives up
aborts its connection: a late answer then has no connection to arrive on.
"""

import asyncio
from enum import Enum, auto
from typing import Protocol, cast

from typing_extensions import override

from eventflow_processor.target.idle_socket import IdleSocket
from eventflow_processor.target.lean.deadlines import Deadlines
from eventflow_processor.target.lean.reader import AnswerReader, Needed


class State(Enum):
    """State of a connection."""

    NEW = auto()
    """It is connected, and has had no request."""
    IDLE = auto()
    """It is kept for a next request."""
    BUSY = auto()
    """A request has been written, and its answer is due."""
    CLOSED = auto()
    """It has ended, or will end without another event."""


class User(Protocol):
    """The sender of the request in progress. Its methods never raise."""

    def answer_arrived(self, answer: AnswerReader) -> None:
        """Note that more of the answer has been read."""
        ...

    def connection_ended(self, answer: AnswerReader, error: Exception | None) -> None:
        """Note that the connection has ended before it was released."""
        ...


class Connection(asyncio.BufferedProtocol):
    """A connection that accepts one answer for each request, only from bytes that arrive after it was sent.

    It is a `BufferedProtocol` because of TLS: for any other protocol, uvloop allocates and frees 256 KiB at each read.

    Attributes:
        answer: Reader of the answer in progress.
    """

    def __init__(self, kept: "Deadlines[Connection]", buffer: memoryview, needed: Needed) -> None:
        """Keep itself among `kept` while it is idle.

        Args:
            buffer: Place for the bytes of one read. Connections can share it, because each parses them at once.
            needed: The headers of an answer that its user needs.
        """
        self._kept = kept
        self._buffer = buffer
        self._needed = needed
        self._is_buffer_full = False
        self._state = State.NEW
        self._user: User | None = None
        self._error: Exception | None = None

    def send(self, request: bytes, user: User) -> None:
        """Send a request on a new connection, or on one that `is_usable`."""
        if self._state is State.CLOSED:  # a target can close a new connection before anything is sent on it
            user.connection_ended(self.answer, self._error)
            return
        self._state, self._user = State.BUSY, user
        self.answer.begin()
        # In one piece, so that it leaves in one segment. A target that does not read it meets the user's deadline.
        self._transport.write(request)

    def release(self) -> None:
        """End the exchange: keep the connection for another request if its answer allows it, and else close it."""
        self._user = None
        answer = self.answer
        if (
            self._state is State.BUSY
            and answer.is_whole
            and answer.keeps_alive
            and not answer.is_broken
            and not self._is_buffer_full  # else decrypted bytes may wait in the TLS layer, unseen by `is_usable`
            and not self._transport.is_closing()
            and not self._transport.get_write_buffer_size()  # else the answer came before the whole request was sent
        ):
            self._state = State.IDLE
            self._kept.add(self)
        else:
            self.abort()

    def is_usable(self) -> bool:
        """Whether an idle connection can carry a request."""
        return self._state is State.IDLE and not self._transport.is_closing() and self._socket.is_quiet()

    def close(self) -> None:
        """Close a connection without a user, in the way that its protocol intends."""
        self._leave()
        self._transport.close()

    def abort(self) -> None:
        """Close the connection at once: bytes that are not sent yet are dropped, and no user is called."""
        self._leave()
        self._transport.abort()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's class has the methods of Transport, but another base.
        self._transport = cast("asyncio.Transport", transport)
        # Not before: it is closed by `connection_lost`, which may never follow a failure.
        self.answer = AnswerReader(self._needed)
        self._socket = IdleSocket(transport)

    @override
    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    @override
    def buffer_updated(self, nbytes: int) -> None:
        user = self._user
        if user is None:  # bytes that no request has asked for are never an answer
            self.close()
            return
        self._is_buffer_full = nbytes == len(self._buffer)
        self.answer.feed(self._buffer[:nbytes])
        user.answer_arrived(self.answer)

    @override
    def eof_received(self) -> None:
        if self._user is None:
            self.close()  # and not only later, in `connection_lost`: it must not be used meanwhile

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        user = self._user
        self._error = exc
        self._leave()
        if user is not None:
            self.answer.feed_eof()
            user.connection_ended(self.answer, exc)
        self.answer.close()

    def _leave(self) -> None:
        self._state, self._user = State.CLOSED, None
        self._kept.discard(self)
