"""The target: one attempt is one POST, with a hard deadline, no redirects and a bounded look at the answer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from types import SimpleNamespace, TracebackType
from typing import Self

import aiohttp
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from eventflow.event import utc_now
from eventflow.message import Envelope
from processor.request import RequestForm

ANSWER_MAX_BYTES = 64 * 1024
ANSWER_DRAIN_S = 1.0
"""A 2xx is a success once its status line is here; its body is read only to keep the connection for others."""

USER_AGENT = f"event-flow/{version('event-flow')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeeded:
    """The target answered 2xx."""

    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Anything else.

    Attributes:
        reason: `throttled`, `client_error`, `server_error`, `redirect`, `unexpected_status`, `timeout`, `connection`
            or `internal`.
        status: None where no status line came.
        retry_after_s: What a `Retry-After` asked for.
    """

    reason: str
    status: int | None = None
    retry_after_s: float | None = None

    @property
    def asks_to_wait(self) -> bool:
        """Whether the target wants fewer requests, and not another one of these."""
        return self.status == 429 or (self.status == 503 and self.retry_after_s is not None)


Result = Succeeded | Failed


class StaleConnectionError(aiohttp.ClientConnectionError):
    """A connection that was kept from an earlier request was closed before it answered this one."""


class Target:
    """Where the events of a flow go. Use it as an async context manager."""

    def __init__(
        self, *, url: str, form: RequestForm, headers: Mapping[str, str], timeout_s: float, concurrency: int
    ) -> None:
        """Prepare; connections are made as attempts need them, at most `concurrency`, and kept for the next."""
        self._url = url
        self._form = form
        self._headers = {"User-Agent": USER_AGENT, **headers}
        self._timeout_s = timeout_s
        self._concurrency = concurrency

    async def __aenter__(self) -> Self:
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._concurrency),
            timeout=aiohttp.ClientTimeout(total=None),  # the deadline below is exact, aiohttp's rounds above 5 s
            headers=self._headers,
            trace_configs=[_noting_reuse()],
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

        async def charge_again(_: RetryCallState) -> None:
            await charge()

        try:
            async for request in AsyncRetrying(
                stop=stop_after_attempt(2),
                retry=retry_if_exception_type(StaleConnectionError),
                before_sleep=charge_again,
                reraise=True,
            ):
                with request:
                    return await self._request(envelope)
        except TimeoutError:
            return Failed(reason="timeout")
        except (aiohttp.ClientError, OSError):
            return Failed(reason="connection")
        raise AssertionError("unreachable: the last request returns or raises")

    async def _request(self, envelope: Envelope) -> Result:
        connection = SimpleNamespace(is_reused=False)
        request = self._form.request_for(envelope, now=utc_now())
        try:
            async with (
                asyncio.timeout(self._timeout_s) as deadline,
                self._client.post(
                    self._url,
                    data=request.body,
                    headers=request.headers,
                    allow_redirects=False,
                    trace_request_ctx=connection,
                ) as answer,
            ):
                result = judge(answer.status, retry_after=answer.headers.get("Retry-After"), now=utc_now())
                if isinstance(result, Succeeded):
                    deadline.reschedule(None)  # it counts from here on; reading the rest has a bound of its own
                    await _drain(answer)
                return result
        except (aiohttp.ServerDisconnectedError, ConnectionResetError, aiohttp.ClientOSError) as error:
            if connection.is_reused:
                raise StaleConnectionError from error
            raise


def judge(status: int, *, retry_after: str | None = None, now: datetime) -> Result:
    """Tell success from failure by the status; read `Retry-After`, in seconds or as a date, where it has a meaning."""
    if 200 <= status < 300:
        return Succeeded(status=status)
    reasons = {3: "redirect", 4: "client_error", 5: "server_error"}
    reason = "throttled" if status == 429 else reasons.get(status // 100, "unexpected_status")
    retry_after_s = parse_retry_after(retry_after, now=now) if status in {429, 503} else None
    return Failed(reason=reason, status=status, retry_after_s=retry_after_s)


def parse_retry_after(text: str | None, *, now: datetime) -> float | None:
    """Return the seconds that a `Retry-After` asks for (RFC 9110, section 10.2.3); None for what is none."""
    if text is None:
        return None
    if text.strip().isdecimal() and text.isascii():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())


def _noting_reuse() -> aiohttp.TraceConfig:
    """Note on a request's context whether its connection had been used before."""

    async def note(
        _: aiohttp.ClientSession, context: SimpleNamespace, __: aiohttp.TraceConnectionReuseconnParams
    ) -> None:
        context.trace_request_ctx.is_reused = True

    config = aiohttp.TraceConfig()
    config.on_connection_reuseconn.append(note)
    return config


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
