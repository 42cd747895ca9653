"""Answers of any length: NDJSON, one row after the other, in bounded memory."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Final

import structlog
from aiohttp import ClientConnectionResetError, web
from prometheus_client import Gauge

from eventflow.errors import EventFlowError
from eventflow_console.refusals import RequestRefusedError

NDJSON: Final = "application/x-ndjson"
STREAMS_MAX: Final = 8
ROW_DEADLINE_S: Final = 15.0
"""Longest time for the next row, and for the client to read it."""

log = structlog.stdlib.get_logger()


class RowStreams:
    """The open streams of rows, at most `STREAMS_MAX`: each occupies the store or the broker."""

    def __init__(self, stopping: asyncio.Event, gauge: Gauge) -> None:
        """Take the parts.

        Args:
            stopping: Set when the console ends: all streams are cut then.
            gauge: Shows the number of open streams.
        """
        self._stopping = stopping
        self._gauge = gauge
        self._open = 0

    async def send(self, request: web.Request, rows: AsyncIterator[bytes], *, name: str) -> web.StreamResponse:
        """Send rows until their end, until the client leaves or reads too slowly, or until the console stops.

        An answer that is cut short does not end as HTTP prescribes, so a client does not take it for a whole one.

        Args:
            request: The request.
            rows: Each with its line end.
            name: Name of the file that a browser saves.

        Raises:
            RequestRefusedError: Too many streams are open.
            EventFlowError: There is not even a first row.
        """
        if self._open >= STREAMS_MAX:
            raise RequestRefusedError(503, f"{STREAMS_MAX} exports are running. Try again when one has ended.")
        self._open += 1
        self._gauge.inc()
        try:
            return await self._send(request, rows, name)
        finally:
            self._open -= 1
            self._gauge.dec()

    async def _send(self, request: web.Request, rows: AsyncIterator[bytes], name: str) -> web.StreamResponse:
        # The first row is read before the answer begins, so that an error of the query has a status of its own.
        row = await _next(rows)
        response = web.StreamResponse(
            headers={"Content-Type": NDJSON, "Content-Disposition": f'attachment; filename="{name}.ndjson"'}
        )
        await response.prepare(request)
        try:
            while row is not None and not self._stopping.is_set():
                async with asyncio.timeout(ROW_DEADLINE_S):
                    await response.write(row)
                row = await _next(rows)
        except (EventFlowError, TimeoutError, ClientConnectionResetError) as error:
            # No error may leave this function now: the answer to it would follow the rows as if it were one of them.
            log.warning("stream.cut", name=name, error=str(error) or type(error).__name__)
        if row is not None:
            if request.transport is not None:
                request.transport.abort()
            return response
        await response.write_eof()
        return response


async def _next(rows: AsyncIterator[bytes]) -> bytes | None:
    try:
        async with asyncio.timeout(ROW_DEADLINE_S):
            return await anext(rows, None)
    except TimeoutError:
        raise RequestRefusedError(503, f"The next row did not come within {ROW_DEADLINE_S:g} s.") from None


def row_of(document: dict[str, Any]) -> bytes:
    """Return a document as a row."""
    return json.dumps(document).encode() + b"\n"
