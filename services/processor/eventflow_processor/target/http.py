"""HTTP target: one attempt is one POST, with a hard deadline, no redirects and an answer that is read within bounds."""

import asyncio
import math
import re
import time
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from types import TracebackType
from typing import Any, Self

import aiohttp
from multidict import CIMultiDict
from typing_extensions import override
from yarl import URL

from eventflow.errors import EventFlowError
from eventflow.event import utc_now
from eventflow.message import Envelope
from eventflow.network.failure import (
    ANSWER_TIMEOUT,
    BAD_ANSWER,
    CLOSED,
    CONNECT_TIMEOUT,
    CUT_OFF,
    NOT_RESOLVED,
    PLAIN_ON_TLS_PORT,
    RESET,
    detail_of,
)
from eventflow.network.probe import speaks_tls
from eventflow.network.resolver import Resolver
from eventflow_processor.target.connection import (
    HEAD_MAX_BYTES,
    BareRequest,
    Connector,
    Exchange,
    current_exchange,
    has_no_descriptor_left,
)
from eventflow_processor.target.feedback import FeedbackReader
from eventflow_processor.target.port import Attempt, Charge, OnResult, Target
from eventflow_processor.target.request import RequestForm
from eventflow_processor.target.result import (
    BY_STATUS,
    AttemptNotMadeError,
    Errored,
    Failed,
    Judged,
    Result,
    Succeeded,
    judge,
)
from eventflow_processor.target.success import SuccessRule, parsed

RULED_BODY_MAX_BYTES = 1024 * 1024
"""If the success depends on the body, it is read up to this length; a longer one counts as unreadable."""

DRAINED_BODY_MAX_BYTES = 64 * 1024
DRAIN_S = 1.0
"""Any other body is read only so that the connection can be used again."""

ASK_FOR_TLS_EVERY_S = 60.0
ASK_FOR_TLS_S = 1.0

_PLAIN_REFUSED = re.compile(
    rb"HTTP request was sent to HTTPS port|HTTP request to an HTTPS server"  # nginx, Go
    rb"|speaking plain HTTP to an SSL-enabled|requires TLS"  # Apache, Tomcat
)
"""In the bodies of 400s by which TLS ports refuse requests in plain HTTP; no application has seen these."""
PLAIN_REFUSAL_MAX_BYTES = 2048

USER_AGENT = f"event-flow/{version('event-flow')}"


class StaleConnectionError(EventFlowError):
    """A connection that was kept from an earlier request was closed before it answered this one."""


class HttpTarget(Target):
    """Target that takes events by POST. Use it as an async context manager; its end abandons what is in flight."""

    def __init__(
        self,
        *,
        url: str,
        form: RequestForm,
        headers: Mapping[str, str],
        timeout_s: float,
        feedback: FeedbackReader,
        success: SuccessRule = BY_STATUS,
        resolver: Resolver | None = None,
    ) -> None:
        """Prepare; connections are made as attempts need them, and kept for the next."""
        self._url = URL(url)
        self._form = form
        self._feedback = feedback
        self._success = success
        self._headers = CIMultiDict({"Accept": "*/*", "User-Agent": USER_AGENT})
        self._headers.update(headers)
        self._timeout_s = timeout_s
        self._resolver = resolver or Resolver()
        self._in_flight: set[HttpAttempt] = set()
        self._speaks_tls = False
        self._ask_for_tls_at_s = -math.inf

    async def __aenter__(self) -> Self:
        self._client = aiohttp.ClientSession(
            connector=Connector(self._resolver),
            timeout=aiohttp.ClientTimeout(total=self._timeout_s, ceil_threshold=math.inf),  # exact, however long
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            request_class=BareRequest,
            auto_decompress=False,
            trust_env=False,
            max_line_size=HEAD_MAX_BYTES,  # the connection bounds the whole head
            max_field_size=HEAD_MAX_BYTES,
            max_headers=HEAD_MAX_BYTES,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for attempt in tuple(self._in_flight):
            attempt.abandon()
        await self._client.close()

    @override
    def start(self, envelope: Envelope, *, charge: Charge, on_result: OnResult) -> "HttpAttempt":
        attempt = HttpAttempt(self._attempt(envelope, charge), on_result, in_flight=self._in_flight)
        self._in_flight.add(attempt)
        return attempt

    async def _attempt(self, envelope: Envelope, charge: Charge) -> Judged:
        """Send the event once. Each failure of the target or the network is a result, and each request ends in time.

        If the target has closed an idle connection meanwhile, this is no failure: the request is repeated once, on a
        new connection, when `charge` allows it. During this wait no connection is held.

        Raises:
            AttemptNotMadeError: Nothing was sent, for an internal reason.
        """
        try:
            return await self._request(envelope, Exchange())
        except StaleConnectionError:
            pass  # and repeated outside, so that no error of the repeat is chained to this one
        charged = asyncio.Event()
        charge(charged.set)
        await charged.wait()
        return await self._request(envelope, Exchange(wants_new=True))

    async def _request(self, envelope: Envelope, exchange: Exchange) -> Judged:
        request = self._form.request_for(envelope, now=utc_now())
        current_exchange.set(exchange)
        try:
            async with self._client.post(
                self._url, data=aiohttp.BytesPayload(request.body), headers=request.headers, allow_redirects=False
            ) as answer:
                return await self._result_of(answer, exchange)
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
            raise AttemptNotMadeError("the target's URL cannot be used") from error
        except TimeoutError:
            self._doubt_address(exchange)
            return Failed(
                reason="timeout",
                detail=_late_detail(exchange),
                reached=exchange.is_sent,
                answered=exchange.is_answered,
            )
        except (aiohttp.ClientError, OSError) as error:
            self._doubt_address(exchange)
            return await self._looked_into(_failure(error, exchange), exchange)

    async def _looked_into(self, failed: Failed, exchange: Exchange) -> Failed:
        """Test, once a minute, whether a port that closes plain connections without an answer speaks TLS.

        Most TLS servers close a plain connection without an answer, as an overloaded server does.
        """
        is_plain = self._url.scheme == "http" and exchange.is_sent and not exchange.is_answered
        if not is_plain or failed.detail not in {CLOSED, RESET}:
            return failed
        now_s = time.monotonic()
        if now_s >= self._ask_for_tls_at_s:
            self._ask_for_tls_at_s = now_s + ASK_FOR_TLS_EVERY_S
            host, port = self._url.raw_host or "", self._url.port or 0
            with suppress(OSError):
                addresses = await self._resolver.addresses_of(host, port)
                self._speaks_tls = await speaks_tls(addresses, within_s=ASK_FOR_TLS_S)
        return replace(failed, detail=PLAIN_ON_TLS_PORT, reached=False) if self._speaks_tls else failed

    def _doubt_address(self, exchange: Exchange) -> None:
        """Look the name up again if connecting, or TLS, failed at its addresses: the target may have moved."""
        if not (exchange.is_sent or exchange.is_resolving):
            self._resolver.doubt(self._url.raw_host or "", self._url.port or 0)

    async def _result_of(self, answer: aiohttp.ClientResponse, exchange: Exchange) -> Judged:
        if answer.status == 408 and exchange.is_kept and exchange.closes:
            raise StaleConnectionError  # the target gave up waiting for a request just before this one arrived
        reads_bodies = self._success.reads_bodies or self._feedback.reads_bodies
        is_for_settings = reads_bodies or answer.status in self._success.statuses
        if answer.status == 400 and self._url.scheme == "http" and not is_for_settings and await _refuses_plain(answer):
            return Failed(reason="connection", status=400, detail=PLAIN_ON_TLS_PORT, reached=False, answered=False)
        feedback, is_throttled = self._feedback.of_headers(answer.headers, now=utc_now()), False
        refusal = detail = None
        if reads_bodies:
            body, broken = await _read(answer)
            document = parsed(body)
            feedback, is_throttled = self._feedback.of_document(document, head=feedback)
            if self._success.refuses(document):
                refusal, detail = broken or ("refused", None)
        result = judge(
            answer.status,
            feedback=feedback,
            is_refused=is_throttled,
            steers=self._feedback.mode != "none",
            success=self._success,
            refusal=refusal,
            detail=detail,
        )
        if isinstance(result, Succeeded) and not answer.content.is_eof():
            await _drain(answer)  # the result is already certain, whether or not the rest can be read
        return result


class HttpAttempt(Attempt):
    """Attempt that runs in a task of its own."""

    __slots__ = ("_in_flight", "_is_abandoned", "_on_result", "_task")

    def __init__(
        self, sending: Coroutine[Any, Any, Judged], on_result: OnResult, *, in_flight: "set[HttpAttempt]"
    ) -> None:
        self._on_result = on_result
        self._in_flight = in_flight
        self._is_abandoned = False
        self._task = asyncio.create_task(sending)
        self._task.add_done_callback(self._ended)

    @override
    def abandon(self) -> None:
        self._is_abandoned = True  # the task may have ended already, with its callback scheduled
        self._task.cancel()

    def _ended(self, task: asyncio.Task[Judged]) -> None:
        self._in_flight.discard(self)
        result = _result_of(task)
        if not self._is_abandoned:
            self._on_result(result)


def _result_of(task: asyncio.Task[Judged]) -> Result:
    if task.cancelled():
        return Errored(error=AttemptNotMadeError("the attempt was cancelled"))
    error = task.exception()
    if error is None:
        return task.result()
    if isinstance(error, Exception):
        return Errored(error=error)
    raise error  # a request to end the process


def _failure(error: Exception, exchange: Exchange) -> Failed:
    """Translate an error of the network or of HTTP.

    Raises:
        StaleConnectionError: A kept connection was closed before a byte of the answer.
        AttemptNotMadeError: We had no file descriptor for the connection, or for resolving the name.
    """
    if exchange.is_kept and not exchange.is_answered:
        raise StaleConnectionError from error
    lacks_descriptor = exchange.lacks_descriptor or (
        isinstance(error, aiohttp.ClientConnectorError) and has_no_descriptor_left()
    )
    if lacks_descriptor and not exchange.is_sent:  # with a second address, a later connection may have got one
        raise AttemptNotMadeError("no file descriptor is left for a connection") from error
    return Failed(
        reason="connection",
        detail=_broken_detail(error, exchange),
        reached=exchange.is_sent,
        answered=exchange.is_answered,
    )


def _late_detail(exchange: Exchange) -> str:
    if exchange.is_sent:
        return ANSWER_TIMEOUT
    return NOT_RESOLVED if exchange.is_resolving else CONNECT_TIMEOUT


def _broken_detail(error: Exception, exchange: Exchange) -> str:
    match error:
        case aiohttp.ClientResponseError() | aiohttp.ClientConnectionError() if exchange.speaks_tls:
            return PLAIN_ON_TLS_PORT
        case aiohttp.ClientResponseError():
            return BAD_ANSWER
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientConnectionResetError():
            return CUT_OFF if exchange.is_answered else CLOSED
        case aiohttp.ClientPayloadError():
            return CUT_OFF
        case _:
            return detail_of(error)


async def _read(answer: aiohttp.ClientResponse) -> tuple[bytes | None, tuple[str, str] | None]:
    """Read a body within the attempt's deadline.

    Returns:
        The body, or None if it is cut off or too long; and the reason and the detail if the network is the cause.
    """
    body = bytearray()
    try:
        async for chunk in answer.content.iter_any():
            body += chunk
            if len(body) > RULED_BODY_MAX_BYTES:
                return None, None
    except TimeoutError:
        return None, ("timeout", ANSWER_TIMEOUT)
    except (aiohttp.ClientError, OSError):
        return None, ("connection", CUT_OFF)
    return bytes(body), None


async def _refuses_plain(answer: aiohttp.ClientResponse) -> bool:
    """Whether the beginning of a 400's body shows that the port expects TLS. The rest of the body is left unread."""
    body = b""
    with suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(DRAIN_S):
            while len(body) < PLAIN_REFUSAL_MAX_BYTES and (part := await answer.content.readany()):
                body += part
    return _PLAIN_REFUSED.search(body) is not None


async def _drain(answer: aiohttp.ClientResponse) -> None:
    """Read a short answer to its end, so that its connection can be used again; close a long or slow one."""
    with suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(DRAIN_S):
            left_bytes = DRAINED_BODY_MAX_BYTES
            async for chunk in answer.content.iter_any():
                left_bytes -= len(chunk)
                if left_bytes < 0:
                    break
    if not answer.content.is_eof():
        answer.close()
