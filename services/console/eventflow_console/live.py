"""Streams of live events (SSE): each view is sent again when it has changed, at most once a second."""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Final

from aiohttp import web
from prometheus_client import Gauge

from eventflow.tasks import cancel_and_wait
from eventflow_console.jobs import Job, Jobs
from eventflow_console.present import Present
from eventflow_console.refusals import RequestRefusedError
from eventflow_console.state import State

STREAMS_MAX: Final = 64
HEARTBEAT_S: Final = 15.0
LIFETIME_S: Final = 3600.0
"""Longest life of a stream. The browser of a page that is still open connects again."""

WRITE_MAX_S: Final = 10.0
"""Time after which a reader that takes nothing is dropped."""

RECONNECT_MS: Final = 3000
JOB_EVERY_S: Final = 0.5

_LINE_END: Final = re.compile(r"\r\n|\r|\n")

Fragments = AsyncGenerator[str, None]
"""Parts of a page, each in place of the one before."""


class Streams:
    """The open streams, at most 64."""

    def __init__(self, stopping: asyncio.Event, gauge: Gauge) -> None:
        """Take the parts.

        Args:
            stopping: Set when the console ends: all streams end then.
            gauge: Shows the number of open streams.
        """
        self._stopping = stopping
        self._gauge = gauge
        self._open = 0

    async def serve(self, request: web.Request, fragments: Fragments) -> web.StreamResponse:
        """Answer a request with fragments as they come, for an hour at most.

        Raises:
            RequestRefusedError: Too many streams are open.
        """
        async with aclosing(fragments):
            with self._counted():
                return await self._serve(request, fragments)

    async def _serve(self, request: web.Request, fragments: Fragments) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        response.content_type = "text/event-stream"
        response.charset = "utf-8"
        await response.prepare(request)
        try:
            async with asyncio.timeout(LIFETIME_S):
                await self._send_all(response, fragments)
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()  # bytes that the reader has not taken must not keep the connection open
        return response

    async def _send_all(self, response: web.StreamResponse, fragments: Fragments) -> None:
        """Send each fragment, and a comment after 15 s without one, so that proxies keep the connection."""
        await _write(response, f"retry: {RECONNECT_MS}\n\n")
        stopping = asyncio.create_task(self._stopping.wait())
        coming = asyncio.create_task(anext(fragments, None))
        try:
            while True:
                await asyncio.wait({coming, stopping}, timeout=HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED)
                if stopping.done():
                    return
                if not coming.done():
                    await _write(response, ": alive\n\n")
                    continue
                fragment = coming.result()
                if fragment is None:
                    await _write(response, "event: end\ndata:\n\n")
                    return
                await _write(response, message_of(fragment))
                coming = asyncio.create_task(anext(fragments, None))
        finally:
            await cancel_and_wait(coming, stopping)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        if self._open >= STREAMS_MAX:
            raise RequestRefusedError(503, f"The console has {STREAMS_MAX} live pages already. Close some of them.")
        self._open += 1
        self._gauge.set(self._open)
        try:
            yield
        finally:
            self._open -= 1
            self._gauge.set(self._open)


def message_of(fragment: str) -> str:
    """Return a fragment as an event of the kind `now`."""
    data = "".join(f"data: {line}\n" for line in _LINE_END.split(fragment))
    return f"event: now\n{data}\n"


async def fragments_of_state(state: State, render: Callable[[Present], str]) -> Fragments:
    """Yield a view of the state, and again when it has changed."""
    shown: str | None = None
    async with aclosing(state.changes()) as changes:
        async for present in changes:
            if (fragment := render(present)) != shown:
                shown = fragment
                yield fragment


async def fragments_of_job(jobs: Jobs, job_id: str, render: Callable[[Job], str]) -> Fragments:
    """Yield a view of a replay, again when it has changed, and for the last time when it has ended."""
    shown: Job | None = None
    while (job := jobs.job(job_id)) is not None:
        if job != shown:
            shown = job
            yield render(job)
        if job.state != "running":
            return
        await asyncio.sleep(JOB_EVERY_S)


async def _write(response: web.StreamResponse, text: str) -> None:
    """Write within 10 s.

    Raises:
        TimeoutError: The reader takes nothing.
    """
    async with asyncio.timeout(WRITE_MAX_S):
        await response.write(text.encode())
