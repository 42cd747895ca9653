"""The target: one attempt is one POST, with a hard deadline, no redirects and a bounded look at the answer."""

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from types import TracebackType
from typing import Self
from urllib.parse import quote

import aiohttp

from eventflow.event import Event, format_time
from eventflow.message import Envelope

ANSWER_MAX_BYTES = 64 * 1024
ANSWER_DRAIN_S = 1.0
"""A 2xx is a success once its status line is here; its body is read only to keep the connection for others."""

USER_AGENT = f"event-flow/{version('event-flow')}"
_UNSAFE_IN_HEADER = re.compile(r"[^\x21-\x7e]|[\"%]")


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
    """

    reason: str
    status: int | None = None


Result = Succeeded | Failed


class Target:
    """Where the events of a flow go. Use it as an async context manager."""

    def __init__(self, *, url: str, headers: Mapping[str, str], timeout_s: float, concurrency: int) -> None:
        """Prepare; connections are made as attempts need them, at most `concurrency`, and kept for the next."""
        self._url = url
        self._headers = {"User-Agent": USER_AGENT, **headers}
        self._timeout_s = timeout_s
        self._concurrency = concurrency

    async def __aenter__(self) -> Self:
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._concurrency),
            timeout=aiohttp.ClientTimeout(total=None),  # the deadline below is exact, aiohttp's rounds above 5 s
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

    async def attempt(self, envelope: Envelope) -> Result:
        """Send the event once. Never raises for what a target does; ends within the deadline."""
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._client.post(
                    self._url,
                    data=envelope.event.body,
                    headers=request_headers(envelope),
                    allow_redirects=False,
                ) as answer,
            ):
                result = judge(answer.status)
                if isinstance(result, Succeeded):
                    await _drain(answer)
                return result
        except TimeoutError:
            return Failed(reason="timeout")
        except (aiohttp.ClientError, OSError):
            return Failed(reason="connection")


def judge(status: int) -> Result:
    """Tell success from failure by the status alone."""
    if 200 <= status < 300:
        return Succeeded(status=status)
    if status == 429:
        return Failed(reason="throttled", status=status)
    reasons = {3: "redirect", 4: "client_error", 5: "server_error"}
    return Failed(reason=reasons.get(status // 100, "unexpected_status"), status=status)


def request_headers(envelope: Envelope) -> dict[str, str]:
    """Build the headers of an attempt: CloudEvents in binary mode, and what lets the target drop a duplicate."""
    event: Event = envelope.event
    headers = {
        "ce-specversion": "1.0",
        "ce-id": _header_value(event.id),
        "ce-source": _header_value(event.source),
        "ce-type": _header_value(event.type),
        "ce-time": format_time(event.time),
        "Idempotency-Key": _header_value(event.id),
        "eventflow-attempt": str(envelope.attempt),
    }
    if event.content_type is not None:
        headers["Content-Type"] = event.content_type
    if envelope.content_encoding is not None:
        headers["Content-Encoding"] = envelope.content_encoding
    if event.traceparent is not None:
        headers["traceparent"] = event.traceparent
    return headers


def _header_value(text: str) -> str:
    """Percent-encode what a header cannot carry, as the CloudEvents HTTP binding says (section 3.1.3.2)."""
    return _UNSAFE_IN_HEADER.sub(lambda match: quote(match[0], safe=""), text)


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
