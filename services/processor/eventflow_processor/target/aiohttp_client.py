"""Target over aiohttp's client: one attempt is one request with a hard deadline, without redirects."""

import asyncio
import math
from collections.abc import Coroutine, Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp
from typing_extensions import override
from yarl import URL

from eventflow.errors import EventFlowError
from eventflow.event import utc_now
from eventflow.message import Envelope
from eventflow.network.client_tls import ClientTls
from eventflow.network.failure import BAD_ANSWER, BODY_TIMEOUT, CLOSED, CUT_OFF, PLAIN_ON_TLS_PORT, detail_of, text_of
from eventflow.network.http_proxy import Proxy
from eventflow.network.resolver import Resolver
from eventflow.network.tls_files import SYSTEM_TLS, TlsFiles
from eventflow_processor.target.aiohttp_connection import BareRequest, Connector, current_exchange, proxy_arguments
from eventflow_processor.target.answer import AnswerBody, AnswerJudge, BodyBounds
from eventflow_processor.target.exchange import (
    HEAD_MAX_BYTES,
    Exchange,
    has_no_descriptor_left,
)
from eventflow_processor.target.feedback import FeedbackReader
from eventflow_processor.target.kept_answer import AnswerKeeping
from eventflow_processor.target.origin import Origin
from eventflow_processor.target.port import Attempt, Charge, OnResult, Target
from eventflow_processor.target.request import RequestForm, TargetRequest, fixed_headers
from eventflow_processor.target.result import BY_STATUS, AttemptNotMadeError, Errored, Judged, Result, result_of_error
from eventflow_processor.target.secrets import secrets_of
from eventflow_processor.target.success import SuccessRule


class StaleConnectionError(EventFlowError):
    """A connection that was kept from an earlier request was closed before it answered this one."""


class AiohttpTarget(Target):
    """Target over aiohttp's client. It is an async context manager, and its end abandons the attempts in flight."""

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
        method: str = "POST",
        tls: TlsFiles = SYSTEM_TLS,
        proxy: Proxy | None = None,
        keeping: AnswerKeeping | None = None,
    ) -> None:
        """Prepare; connections are made as attempts need them, and kept for the next.

        Raises:
            UnusableCertificateError: A file of `tls` cannot be used.
        """
        self._url = URL(url)
        self._form = form
        self._timeout_s = timeout_s
        self._method = method
        self._origin = Origin(self._url, resolver or Resolver(), proxy=proxy)
        self._headers = fixed_headers(headers, self._origin.via)
        self._proxy = proxy_arguments(self._origin.via)
        self._tls = None if self._origin.is_plain else ClientTls(tls)
        self.judge = AnswerJudge(
            feedback=feedback,
            success=success,
            is_plain=self._origin.is_plain,
            secrets=secrets_of(self._url, headers, literals=form.literals, proxy=proxy),
            keeping=keeping,
        )
        self._in_flight: set[AiohttpAttempt] = set()

    async def __aenter__(self) -> Self:
        self._client = aiohttp.ClientSession(
            connector=Connector(self._origin.resolver, self._origin.via),
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
    def start(self, envelope: Envelope, *, charge: Charge, on_result: OnResult) -> "AiohttpAttempt":
        attempt = AiohttpAttempt(self._attempt(envelope, charge), on_result, in_flight=self._in_flight)
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
            async with self._client.request(
                self._method,
                self._url_of(request),
                data=aiohttp.BytesPayload(request.body),
                headers=request.headers,
                allow_redirects=False,
                ssl=True if self._tls is None else self._tls.context,
                **self._proxy,
            ) as answer:
                return await self._result_of(answer, exchange)
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
            raise AttemptNotMadeError("the target's URL cannot be used") from error
        except TimeoutError:
            self._origin.doubt_address_after(exchange)
            return exchange.late()
        except (aiohttp.ClientError, OSError) as error:
            if exchange.is_stale:
                raise StaleConnectionError from error
            self._origin.doubt_address_after(exchange)
            if isinstance(error, aiohttp.ClientConnectorError) and has_no_descriptor_left():
                exchange.lacks_descriptor = True
            if exchange.unreadable is not None:
                text = self.judge.text_in_place_of(exchange.unreadable)
            else:  # an error of the library can contain the URL, so its message is treated like an answer
                text = self.judge.text_of((text_of(error) or "").encode())
            failed = exchange.broken(_broken_detail(error, exchange), text=text)
        return await self._origin.looked_into(failed) if self._origin.may_expect_tls(failed, exchange) else failed

    def _url_of(self, request: TargetRequest) -> URL:
        if request.path is None:
            return self._url
        return URL(f"{self._url.origin()}{request.path}", encoded=True)  # the path is encoded as it must be sent

    async def _result_of(self, answer: aiohttp.ClientResponse, exchange: Exchange) -> Judged:
        if exchange.is_unheard(answer.status):
            raise StaleConnectionError
        body = await _read(answer, self.judge.bounds)
        return self.judge.result_of(answer.status, _lower(answer.headers), body, now=utc_now())


class AiohttpAttempt(Attempt):
    """Attempt that runs in a task of its own."""

    __slots__ = ("_in_flight", "_is_abandoned", "_on_result", "_task")

    def __init__(
        self, sending: Coroutine[Any, Any, Judged], on_result: OnResult, *, in_flight: "set[AiohttpAttempt]"
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
        return result_of_error(error)
    raise error  # a request to end the process


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


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers with names in lower case. Of several with one name the first counts."""
    lower: dict[str, str] = {}
    for name, value in headers.items():
        lower.setdefault(name.lower(), value)
    return lower


async def _read(answer: aiohttp.ClientResponse, bounds: BodyBounds) -> AnswerBody:
    """Read a body within its bounds and the attempt's deadline. The connection is closed if this is not the whole."""
    content, broken = bytearray(), None
    try:
        async with asyncio.timeout(bounds.within_s):
            async for chunk in answer.content.iter_any():
                content += chunk
                if len(content) > bounds.max_bytes:
                    break
            else:
                return AnswerBody(content=bytes(content))
    except TimeoutError:
        broken = ("timeout", BODY_TIMEOUT)
    except (aiohttp.ClientError, OSError):
        broken = ("connection", CUT_OFF)
    answer.close()
    return AnswerBody(content=bytes(content), is_whole=False, broken=broken)
