"""Connections to a target: aiohttp's, with strict rules about the bytes that are the answer to a request.

aiohttp keeps bytes that arrive on an idle connection and treats them as the next answer. And if one read of the socket
contains a whole head and then an error, it drops the head. Both are corrected here, below its client, with its own
parser. tests/integration/test_answers.py tests this over sockets.
"""

import asyncio
import socket
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from functools import partial
from typing import Any, TypedDict

import aiohttp
from aiohttp.abc import ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import StreamReader
from multidict import CIMultiDict
from yarl import URL

from eventflow.network.dial import refused, unreachable
from eventflow.network.http_proxy import Via
from eventflow.network.http_resolver import HttpResolver
from eventflow.network.resolver import Resolver
from eventflow_processor.target.exchange import HEAD_MAX_BYTES, TLS_ALERT, Exchange
from eventflow_processor.target.idle_socket import IdleSocket
from eventflow_processor.target.request import PROXY_AUTHORIZATION

_NOT_ADDED: CIMultiDict[None] = CIMultiDict({"Content-Type": None, "Accept-Encoding": None})

current_exchange: ContextVar[Exchange] = ContextVar("current_exchange")
"""The exchange of the task that makes the request. It is needed because aiohttp passes no argument of ours on to its
connections."""


class Connector(aiohttp.TCPConnector):
    """Pool of `TargetConnection`s, each used for one request at a time, so as many as there are attempts in flight."""

    def __init__(self, resolver: Resolver, via: Via | None) -> None:
        """Start empty.

        Args:
            resolver: Looks up the target, or its proxy.
            via: The proxy.
        """
        self._via = via
        # No limit: attempts are bounded already, and a connection left behind by an error must not block another one.
        # No cache of names: the resolver has one, and it looks a name up again after a failed connect.
        super().__init__(limit=0, socket_factory=_make_socket, resolver=_Addresses(resolver), use_dns_cache=False)
        self._factory = partial(  # type: ignore[assignment]  # a partial of a subclass is none of its base
            TargetConnection, loop=asyncio.get_running_loop()
        )

    async def _create_proxy_connection(
        self, req: aiohttp.ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout
    ) -> tuple[asyncio.BaseTransport, ResponseHandler]:
        """Connect through the proxy, with its failures as those of the lean client.

        `CONNECT` is a request on a connection of this pool too, but none to the target. So its facts are removed from
        the exchange, also if the deadline ends it.
        """
        exchange, via = current_exchange.get(), self._via
        try:
            return await super()._create_proxy_connection(req, traces, timeout)
        except (aiohttp.ClientProxyConnectionError, aiohttp.ClientConnectorDNSError) as error:
            raise error if via is None else unreachable(via, error.os_error) from None
        except aiohttp.ClientHttpProxyError as error:
            raise error if via is None else refused(via, f"HTTP {error.status}") from None
        except (aiohttp.ClientResponseError, aiohttp.ServerDisconnectedError) as error:
            reason = "it closed the connection" if exchange.unreadable is None else "its answer is not HTTP"
            raise error if via is None else refused(via, reason) from None
        finally:
            exchange.is_sent = exchange.is_answered = exchange.is_resolving = exchange.closes = False
            exchange.unreadable = None


class ProxyArguments(TypedDict):
    """Arguments of aiohttp's client for one way to an origin.

    Attributes:
        proxy: URL of the proxy, without its password.
        proxy_headers: Headers of `CONNECT`. Requests that the proxy reads have its password among their own headers.
    """

    proxy: URL | None
    proxy_headers: Mapping[str, str]


def proxy_arguments(via: Via | None) -> ProxyArguments:
    """Return the arguments for a way; those for the direct one if there is no proxy."""
    if via is None:
        return {"proxy": None, "proxy_headers": {}}
    authorization = None if via.reads_requests else via.proxy.authorization
    return {
        "proxy": URL(f"http://{via.proxy.place}"),
        "proxy_headers": {} if authorization is None else {PROXY_AUTHORIZATION: authorization},
    }


class BareRequest(aiohttp.ClientRequest):
    """A request that carries the caller's headers, `Host` and `Content-Length`, and none of the library's defaults."""

    def update_auto_headers(self, skip_auto_headers: Iterable[str] | None) -> None:  # noqa: ARG002 - the library's name
        """Add no header, now or later; computing the defaults costs 4 % of a request."""
        self._skip_auto_headers = _NOT_ADDED


class _Addresses(HttpResolver):
    """Notes on the exchange that its name is being looked up."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        exchange = current_exchange.get()
        exchange.is_resolving = True
        try:
            found = await super().resolve(host, port, family)
        except UnicodeError as error:
            raise aiohttp.InvalidURL(host, "no name server can be asked for this host") from error
        exchange.is_resolving = False
        return found


class TargetConnection(ResponseHandler):
    """A connection that accepts one answer for each request, only from bytes that arrive after the request was sent.

    Any other byte closes the connection: a second answer, a late interim one, a 408 for a request that was never made,
    a single stray byte. The answer before it remains valid. Bytes that arrive after the next request was sent cannot be
    distinguished from its answer, because HTTP/1.1 has no mark for this.
    """

    def __init__(self, *, loop: asyncio.AbstractEventLoop) -> None:
        """Start without a request."""
        super().__init__(loop=loop)
        self._exchange: Exchange | None = None
        self._is_answer_due = False  # from the request to the answer's last byte
        self._is_head_due = False
        self._head = b""  # all that has come in while the head is due
        self._interim_heads = 0
        self._is_second_reading = False
        self._last_bytes = b""
        self._body_left_bytes: int | None = None  # None if it is not stated
        self._parser_params: dict[str, Any] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the socket, so that it can be polled."""
        super().connection_made(transport)
        self._socket = IdleSocket(transport)

    def is_connected(self) -> bool:
        """Whether the connection can carry a request; asked before it is taken from the pool."""
        is_open = super().is_connected()
        if not is_open or self._is_answer_due:
            return is_open
        exchange = current_exchange.get(None)
        return not (exchange is not None and exchange.wants_new) and self._socket.is_quiet()

    def set_response_params(self, **params: Any) -> None:
        """Begin an exchange: its request is sent next."""
        exchange = current_exchange.get()
        exchange.is_sent, exchange.is_kept = True, self._exchange is not None
        self._exchange = exchange
        self._is_answer_due = self._is_head_due = True
        self._head, self._interim_heads, self._last_bytes, self._body_left_bytes = b"", 0, b"", None
        self._parser_params = params
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """Pass on the bytes of the answer that is due, and close the connection after any other byte."""
        if data and not self._is_answer_due:
            self._spoil()
            return
        if data and self._exchange is not None:
            self._exchange.is_answered = True
        was_head_due = self._is_head_due
        if was_head_due:
            self._head += data
        super().data_received(data)
        if not was_head_due:
            self._note_body(data, len(data))
        elif not self._is_head_due:
            self._note_body(data, len(self._head) - _end_of_heads(self._head, heads=self._interim_heads + 1))
            self._head = b""
        elif len(self._head) > HEAD_MAX_BYTES and self._exception is None:
            self.set_exception(aiohttp.ClientConnectionError("the head of the answer is too long"))
            self._spoil()

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """Take a head from the parser. The first that is not interim is that of the answer, and no other may follow."""
        message, _ = data
        if not self._is_head_due:
            self._spoil()
            return
        if message.code < 200 and message.code != 101:
            self._interim_heads += 1
        else:
            self._is_head_due = False
            if self._exchange is not None:
                self._exchange.closes = message.should_close
            if not message.chunked and (length := message.headers.get("Content-Length")) is not None:
                self._body_left_bytes = int(length)  # digits, as the parser has checked
        super().feed_data(data, size)

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        """Take an error of the parser or the network, after all heads that came before it."""
        if isinstance(exc, HttpProcessingError) and self._exchange is not None:
            self._exchange.speaks_tls = self._head.startswith(TLS_ALERT)
            self._exchange.unreadable = self._head
        if isinstance(exc, HttpProcessingError) and self._is_head_due and not self._is_second_reading:
            self._read_again()
            return
        super().set_exception(exc, *cause)
        payload = self._payload
        if payload is not None and not payload.is_eof() and payload.exception() is None:
            # aiohttp leaves a reader of the body waiting.
            payload.set_exception(aiohttp.ClientPayloadError("the body of the answer is not valid"))

    def _read_again(self) -> None:
        """Parse the bytes again, head by head.

        If a parser meets an error, it drops the heads that it has read in the same call, and they may include the head
        of the answer. aiohttp has closed the connection already.
        """
        self._is_second_reading = True
        super().set_response_params(**self._parser_params)
        start = 0
        while self._is_head_due and self._exception is None and start < len(self._head):
            end = _end_of_heads(self._head, heads=1, start=start)
            super().data_received(self._head[start:end])
            start = end
        if start < len(self._head) and self._exception is None:
            super().data_received(self._head[start:])

    def _note_body(self, data: bytes, body_bytes: int) -> None:
        """Note the number of body bytes that have arrived, and whether other bytes follow the body."""
        is_stated = self._body_left_bytes is not None
        if self._body_left_bytes is not None:
            self._body_left_bytes -= body_bytes
            if self._body_left_bytes < 0:
                self._spoil()
        else:
            self._last_bytes = (self._last_bytes + data[-3:])[-3:]
        if self._payload is not None and self._payload.is_eof():
            self._is_answer_due = False
            if not is_stated and not self._last_bytes.endswith((b"\n\r\n", b"\n\n")):
                self._spoil()  # an answer like this ends in an empty line, so these bytes do not belong to it

    def _spoil(self) -> None:
        """Ensure that no further request is sent on this connection."""
        self.force_close()
        if self.transport is not None:
            self.transport.close()


def _end_of_heads(text: bytes, *, heads: int, start: int = 0) -> int:
    """Return the position after the given number of heads, or the length of the bytes if they contain fewer.

    Lines may end without a carriage return, and heads may follow empty lines, because the parser accepts both.
    """
    for _ in range(heads):
        while text.startswith((b"\r", b"\n"), start):
            start += 1
        after_return = text.find(b"\n\r\n", start)
        plain = text.find(b"\n\n", start, len(text) if after_return < 0 else after_return + 1)
        if plain >= 0:
            start = plain + 2
        elif after_return >= 0:
            start = after_return + 3
        else:
            return len(text)
    return start


def _make_socket(address: tuple[Any, ...]) -> socket.socket:
    return current_exchange.get().make_socket(address)
