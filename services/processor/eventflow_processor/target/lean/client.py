"""Target over the lean client: one attempt is one request with a hard deadline, without redirects.

An attempt on a kept connection needs no task, no future and no timer of its own. `start` writes its request, and the
callback that reads the last byte of its answer reports its result. Coroutines are left to rare waits: for a new
connection, and for the test of a port that may expect TLS.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self

from typing_extensions import override
from yarl import URL

from eventflow.event import utc_now
from eventflow.message import Envelope
from eventflow.network.client_tls import ClientTls
from eventflow.network.http_proxy import Proxy
from eventflow.network.resolver import Resolver
from eventflow.network.tls_files import SYSTEM_TLS, TlsFiles
from eventflow.tasks import cancel_and_wait
from eventflow_processor.target.answer import DRAIN_S, AnswerJudge
from eventflow_processor.target.exchange import Exchange
from eventflow_processor.target.feedback import FeedbackReader
from eventflow_processor.target.kept_answer import AnswerKeeping
from eventflow_processor.target.lean.attempt import Client, LeanAttempt
from eventflow_processor.target.lean.connection import Connection
from eventflow_processor.target.lean.connector import Connector
from eventflow_processor.target.lean.deadlines import Deadlines
from eventflow_processor.target.lean.reader import needed_headers
from eventflow_processor.target.lean.writer import RequestWriter
from eventflow_processor.target.origin import Origin
from eventflow_processor.target.port import Charge, OnResult, Target
from eventflow_processor.target.request import RequestForm, fixed_headers
from eventflow_processor.target.result import BY_STATUS
from eventflow_processor.target.secrets import secrets_of
from eventflow_processor.target.success import SuccessRule

KEPT_S = 15.0
"""Time after which an idle connection is closed, as in aiohttp's client."""

READ_MAX_BYTES = 64 * 1024
"""Bytes that are read at once. Nearly all answers are much shorter."""


class LeanTarget(Target, Client):
    """Target over the lean client. It is an async context manager, and its end abandons the attempts in flight.

    An attempt opens a connection only if none is idle, so the concurrency of the flow bounds their number. The one that
    became idle last is taken first, so that connections that are not needed any more stay idle and are closed in time.
    """

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
        parts = URL(url)
        self._form = form
        self._timeout_s = timeout_s
        self.origin = Origin(parts, resolver or Resolver(), proxy=proxy)
        self._writer = RequestWriter(
            parts, fixed=fixed_headers(headers, self.origin.via), method=method, via=self.origin.via
        )
        self._tls = None if self.origin.is_plain else ClientTls(tls)
        self.judge = AnswerJudge(
            feedback=feedback,
            success=success,
            is_plain=self.origin.is_plain,
            secrets=secrets_of(parts, headers, literals=form.literals, proxy=proxy),
            keeping=keeping,
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def __aenter__(self) -> Self:
        self.due: Deadlines[LeanAttempt] = Deadlines(self._timeout_s, LeanAttempt.deadline_passed)
        self.draining: Deadlines[LeanAttempt] = Deadlines(DRAIN_S, LeanAttempt.drain_ended)
        self._kept: Deadlines[Connection] = Deadlines(KEPT_S, Connection.close)
        needed = needed_headers(self.judge.header_names)
        make_connection = partial(Connection, self._kept, memoryview(bytearray(READ_MAX_BYTES)), needed)
        self._connector = Connector(self.origin, make_connection, self._tls)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_closed = True
        for attempt in self.due:
            attempt.abandon()
        for connection in self._kept:
            connection.abort()
        for deadlines in (self.due, self.draining, self._kept):
            deadlines.close()
        await cancel_and_wait(*self._tasks)

    @override
    def start(self, envelope: Envelope, *, charge: Charge, on_result: OnResult) -> LeanAttempt:
        attempt = LeanAttempt(self, envelope, charge, on_result)
        attempt.begin()
        return attempt

    @override
    def send(self, attempt: LeanAttempt, exchange: Exchange) -> None:
        if self._is_closed:
            return
        request = self._writer.bytes_of(self._form.request_for(attempt.envelope, now=utc_now()))
        self.due.add(attempt)
        connection = None if exchange.wants_new else self._take()
        if connection is None:
            attempt.wait_for(self._send_on_new(attempt, request, exchange))
        else:
            exchange.is_kept = True
            attempt.connected(connection, request)

    @override
    def create_task(self, waiting: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(waiting)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _take(self) -> Connection | None:
        while (connection := self._kept.take_latest()) is not None:
            if connection.is_usable():
                return connection
            connection.abort()  # and not closed, which would wait until a deaf target has read the rest of a request
        return None

    async def _send_on_new(self, attempt: LeanAttempt, request: bytes, exchange: Exchange) -> None:
        try:
            attempt.connected(await self._connector.connect(exchange), request)
        except Exception as error:  # noqa: BLE001 - the attempt distinguishes them
            attempt.not_connected(error)
