"""The target: one attempt is one POST, with a hard deadline, no redirects and a bounded look at the answer."""

import asyncio
import math
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.metadata import version
from types import TracebackType
from typing import Any, Self

import aiohttp
from yarl import URL

from eventflow.errors import EventFlowError
from eventflow.event import utc_now
from eventflow.message import Envelope
from processor.feedback import NOTHING, Feedback, FeedbackReader
from processor.request import RequestForm

ANSWER_MAX_BYTES = 64 * 1024
ANSWER_DRAIN_S = 1.0
"""A 2xx is a success once its status line is here; its body is read only to keep the connection for others."""

USER_AGENT = f"event-flow/{version('event-flow')}"


REASONS = (
    "throttled",
    "client_error",
    "server_error",
    "redirect",
    "unexpected_status",
    "timeout",
    "connection",
    "internal",
)
"""Why attempts fail: a closed set, as metrics need it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeeded:
    """The target answered 2xx."""

    status: int
    feedback: Feedback = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Anything else.

    Attributes:
        reason: One of `REASONS`.
        status: None where no status line came.
        asks_to_wait: Whether the target wants fewer requests, and not another one of these.
        reached: Whether the application may have seen the request.
    """

    reason: str
    status: int | None = None
    asks_to_wait: bool = False
    reached: bool = True
    feedback: Feedback = NOTHING


Result = Succeeded | Failed


@dataclass(slots=True)
class _Connection:
    """The connection of a request: kept from an earlier one, unless a socket is made for it."""

    is_new: bool = False


_connection: ContextVar[_Connection] = ContextVar("connection")


class AttemptNotMadeError(EventFlowError):
    """Nothing was sent, for a reason that is neither the target's nor the event's; the event keeps its attempt."""


class StaleConnectionError(aiohttp.ClientConnectionError):
    """A connection that was kept from an earlier request was closed before it answered this one."""


class Target:
    """Where the events of a flow go. Use it as an async context manager."""

    def __init__(
        self,
        *,
        url: str,
        form: RequestForm,
        headers: Mapping[str, str],
        timeout_s: float,
        concurrency: int,
        feedback: FeedbackReader,
    ) -> None:
        """Prepare; connections are made as attempts need them, at most `concurrency`, and kept for the next."""
        self._url = URL(url)
        self._form = form
        self._feedback = feedback
        self._headers = {"User-Agent": USER_AGENT, **headers}
        self._timeout_s = timeout_s
        self._concurrency = concurrency

    async def __aenter__(self) -> Self:
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._concurrency, socket_factory=_noting_new),
            timeout=aiohttp.ClientTimeout(total=self._timeout_s, ceil_threshold=math.inf),  # exact, however long
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Content-Type", "Accept-Encoding"),
            auto_decompress=False,
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def attempt(self, envelope: Envelope, *, charge: Callable[[], Awaitable[None]]) -> Result:
        """Send the event once. Never raises for what a target does; each request ends within the deadline.

        A kept connection that the target has closed meanwhile is not the target's failure: the request is repeated on
        another one, once, at once, and after `charge` has charged it to the quota.
        """

        try:
            try:
                return await self._request(envelope)
            except StaleConnectionError:
                await charge()
                return await self._request(envelope)
        except TimeoutError:
            return Failed(reason="timeout")
        except (aiohttp.ClientError, OSError):
            return Failed(reason="connection")

    async def _request(self, envelope: Envelope) -> Result:
        _connection.set(connection := _Connection())
        request = self._form.request_for(envelope, now=utc_now())
        try:
            async with self._client.post(
                self._url, data=aiohttp.BytesPayload(request.body), headers=request.headers, allow_redirects=False
            ) as answer:
                feedback, is_refused = self._feedback.of_headers(answer.headers, now=utc_now()), False
                if self._feedback.reads_bodies:
                    feedback, is_refused = self._feedback.of_body(await _start_of(answer), head=feedback)
                result = judge(
                    answer.status, feedback=feedback, is_refused=is_refused, steers=self._feedback.mode != "none"
                )
                if isinstance(result, Succeeded) and not answer.content.is_eof():
                    await _drain(answer)  # it counts from here on, whatever becomes of the rest
                return result
        except (aiohttp.ServerDisconnectedError, ConnectionResetError, aiohttp.ClientOSError) as error:
            if connection.is_new or isinstance(error, aiohttp.ClientConnectorError):  # or there is none at all
                raise
            raise StaleConnectionError from error


def judge(status: int, *, feedback: Feedback = NOTHING, is_refused: bool = False, steers: bool = True) -> Result:
    """Tell success from failure by the status.

    Args:
        feedback: What the answer says about the quota.
        is_refused: Whether its body says that the request was not carried out for want of quota.
        steers: Whether answers steer the rate; else a 429 is a failure like any other.
    """
    if 200 <= status < 300 and not is_refused:
        return Succeeded(status=status, feedback=feedback)
    reasons = {3: "redirect", 4: "client_error", 5: "server_error"}
    is_throttled = is_refused or status == 429
    return Failed(
        reason="throttled" if is_throttled else reasons.get(status // 100, "unexpected_status"),
        status=status,
        asks_to_wait=steers and (is_throttled or (status == 503 and feedback.retry_after_s is not None)),
        feedback=feedback,
    )


def _noting_new(address: tuple[Any, ...]) -> socket.socket:
    """Make a socket and note that it is new, for the request in whose context the connection is made."""
    family, kind, protocol, _, _ = address
    _connection.get().is_new = True
    return socket.socket(family=family, type=kind, proto=protocol)


async def _start_of(answer: aiohttp.ClientResponse) -> bytes:
    """Read an answer as far as it is looked at, within the attempt's deadline."""
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > ANSWER_MAX_BYTES:
            break
    return bytes(body)


async def _drain(answer: aiohttp.ClientResponse) -> None:
    """Read a short answer to its end, so that its connection can be used again; give a long or slow one up."""
    with suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(ANSWER_DRAIN_S):
            left_bytes = ANSWER_MAX_BYTES
            async for chunk in answer.content.iter_any():
                left_bytes -= len(chunk)
                if left_bytes < 0:
                    break
    if not answer.content.is_eof():
        answer.close()
