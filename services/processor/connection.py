"""Connections to a target: aiohttp's, made strict about which bytes are the answer to which request.

aiohttp keeps what comes in on a connection that waits for its next request and takes it for the next answer; and if
one read of the socket brings a whole head and then an error, it drops the head. Both are mended here, below its
client, with its own parser. The tests of tests/integration/test_answers.py hold this over sockets.
"""

import asyncio
import errno
import select
import socket
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage
from aiohttp.streams import StreamReader

HEAD_MAX_BYTES = 256 * 1024
"""All heads of an answer, interim ones too, have room in this; Chrome has the same bound. A longer one is an error."""

_OUR_ERRNOS = frozenset({errno.EMFILE, errno.ENFILE})


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One request and its answer, as its connection sees them.

    Attributes:
        wants_new: Whether the request must not go out on a kept connection.
        is_kept: Whether the connection has carried a request before this one.
        is_answered: Whether a byte of the answer has come in.
        closes: Whether the answer's head ends the connection.
        lacks_descriptor: Whether no socket could be made because this process or machine has no descriptor left.
    """

    wants_new: bool = False
    is_kept: bool = False
    is_answered: bool = False
    closes: bool = False
    lacks_descriptor: bool = False


current_exchange: ContextVar[Exchange] = ContextVar("current_exchange")
"""The exchange of the task that makes the request: aiohttp hands nothing of ours down to its connections."""


class Connector(aiohttp.TCPConnector):
    """Pool of `TargetConnection`s, at most `limit`, each used for one request at a time."""

    def __init__(self, *, limit: int) -> None:
        """Start empty."""
        super().__init__(limit=limit, socket_factory=_make_socket)
        self._factory = partial(  # type: ignore[assignment]  # a partial of a subclass is none of its base
            TargetConnection, loop=asyncio.get_running_loop()
        )


class TargetConnection(ResponseHandler):
    """A connection that takes for an answer only what comes in after its request went out, and only one answer each.

    Anything beyond the answer closes the connection: a second answer, an interim one that comes late, a 408 for a
    request that was never made, a stray byte. The answer before it stands. Bytes that arrive when the next request is
    on its way already cannot be told from its answer; HTTP/1.1 has no mark for that.
    """

    def __init__(self, *, loop: asyncio.AbstractEventLoop) -> None:
        """Start without a request."""
        super().__init__(loop=loop)
        self._exchange: Exchange | None = None
        self._is_answer_due = False  # from the request to the answer's last byte
        self._is_head_due = False
        self._head_bytes = 0
        self._last_bytes = b""
        self._body_left_bytes: int | None = None  # None if it is not stated
        self._unread = select.poll()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the socket, to look for what is unread on it."""
        super().connection_made(transport)
        self._unread.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def is_connected(self) -> bool:
        """Whether the connection can carry a request; asked before it is taken from the pool.

        The socket is looked at as well: bytes or the end of the stream may wait on it that the loop has not read yet.
        """
        is_open = super().is_connected()
        if not is_open or self._is_answer_due:
            return is_open
        exchange = current_exchange.get(None)
        return not (exchange is not None and exchange.wants_new) and not self._unread.poll(0)

    def set_response_params(self, **params: Any) -> None:
        """Begin an exchange: its request goes out next."""
        exchange = current_exchange.get()
        exchange.is_kept = self._exchange is not None
        self._exchange = exchange
        self._is_answer_due = self._is_head_due = True
        self._head_bytes, self._last_bytes, self._body_left_bytes = 0, b"", None
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """Pass on what belongs to the answer that is due, and close the connection for anything else."""
        if not data:  # the parser goes on with what it has kept
            self._parse(data)
        elif self._exchange is None or not self._is_answer_due:
            self._spoil()
        else:
            self._exchange.is_answered = True
            rest = self._parse_heads(data) if self._is_head_due else data
            if rest and not self._is_head_due:
                self._parse_body(rest)

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """Take a head from the parser; the first that is not interim is the answer's, and no other may follow."""
        message, _ = data
        if not self._is_head_due:
            self._spoil()
            return
        if message.code >= 200 or message.code == 101:
            self._is_head_due = False
            if self._exchange is not None:
                self._exchange.closes = message.should_close
            if not message.chunked and (length := message.headers.get("Content-Length")) is not None:
                self._body_left_bytes = int(length)  # digits, as the parser has checked
        super().feed_data(data, size)

    def _parse_heads(self, data: bytes) -> bytes:
        """Parse up to the end of the answer's head and return the rest.

        A parser that meets an error drops the heads that it has read in the same call, so each is fed by itself.
        """
        if not self._head_bytes:
            data = data.lstrip(b"\r\n")  # as the parser does; each empty line would be a head below
        while data and self._is_head_due and not self._exception:
            end = _end_of_head(self._last_bytes, data)
            self._head_bytes += end
            if self._head_bytes > HEAD_MAX_BYTES:
                self._fail(aiohttp.ClientConnectionError("the head of the answer is too long"))
                break
            self._parse(data[:end])
            data = data[end:]
        return data

    def _parse_body(self, data: bytes) -> None:
        left_bytes = self._body_left_bytes if self._is_answer_due else 0
        body = data if left_bytes is None else data[:left_bytes]
        if left_bytes is not None:
            self._body_left_bytes = left_bytes - len(body)
        if body:
            self._parse(body)
        if len(body) < len(data):
            self._spoil()

    def _parse(self, data: bytes) -> None:
        if data:
            self._last_bytes = (self._last_bytes + data[-3:])[-3:]
        super().data_received(data)
        payload = self._payload
        if payload is None or self._is_head_due:
            return
        if self._exception is not None and not payload.is_eof():
            # aiohttp leaves a reader of the body waiting.
            payload.set_exception(aiohttp.ClientPayloadError("the body of the answer is not valid"))
        elif self._is_answer_due and payload.is_eof():
            self._is_answer_due = False
            if self._body_left_bytes is None and not self._last_bytes.endswith((b"\n\r\n", b"\n\n")):
                self._spoil()  # a chunked body ends in an empty line, so this is the beginning of something else

    def _spoil(self) -> None:
        """Make sure that no request goes out on this connection any more."""
        self.force_close()
        if self.transport is not None:
            self.transport.close()

    def _fail(self, error: Exception) -> None:
        self.set_exception(error)
        self._spoil()


def _end_of_head(before: bytes, data: bytes) -> int:
    """Return up to where `data` has to be parsed to end with a head; all of it if none ends there.

    Lines may end without a carriage return, as the parser lets them. `before` are the three bytes before `data`.
    """
    text, known = before + data, len(before)
    after_cr = text.find(b"\n\r\n", max(0, known - 2))
    plain = text.find(b"\n\n", max(0, known - 1), len(text) if after_cr < 0 else after_cr + 1)
    ends = [start + length - known for start, length in ((after_cr, 3), (plain, 2)) if start >= 0]
    return min(ends, default=len(data))


def _make_socket(address: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol, _, _ = address
    try:
        return socket.socket(family=family, type=kind, proto=protocol)
    except OSError as error:
        if error.errno in _OUR_ERRNOS:
            current_exchange.get().lacks_descriptor = True
        raise


def has_no_descriptor_left() -> bool:
    """Whether not even a socket can be made now: then a name that was not resolved says nothing about the target."""
    try:
        socket.socket().close()
    except OSError as error:
        return error.errno in _OUR_ERRNOS
    return False
