"""Attempt over the lean client: at most two requests, and one result."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol

from typing_extensions import override

from eventflow.event import utc_now
from eventflow.message import Envelope
from eventflow.network.failure import BODY_TIMEOUT, CLOSED, CUT_OFF, detail_of, text_of
from eventflow_processor.target.answer import AnswerBody, AnswerJudge, BodyBounds
from eventflow_processor.target.exchange import Exchange, has_no_descriptor_left
from eventflow_processor.target.lean.connection import Connection, User
from eventflow_processor.target.lean.deadlines import Deadlines
from eventflow_processor.target.lean.reader import AnswerReader
from eventflow_processor.target.origin import Origin
from eventflow_processor.target.port import Attempt, Charge, OnResult
from eventflow_processor.target.result import Errored, Failed, Result, result_of_error


class Client(Protocol):
    """Parts of the client that its attempts need.

    Attributes:
        due: Attempts with a request in progress, which have a deadline.
        draining: Those of them that read a body for a limited time.
    """

    origin: Origin
    judge: AnswerJudge
    due: "Deadlines[LeanAttempt]"
    draining: "Deadlines[LeanAttempt]"

    def send(self, attempt: "LeanAttempt", exchange: Exchange) -> None:
        """Send the request of an attempt: at once on an idle connection, or as soon as there is a new one."""
        ...

    def create_task(self, waiting: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Create a task that the end of the client cancels."""
        ...


_P = ParamSpec("_P")


def _guarded(
    event: "Callable[Concatenate[LeanAttempt, _P], None]",
) -> "Callable[Concatenate[LeanAttempt, _P], None]":
    """Make an error of our own the result of the attempt, as the port promises."""

    @wraps(event)
    def guarded(attempt: "LeanAttempt", /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            event(attempt, *args, **kwargs)
        except Exception as error:
            if attempt.is_over:
                raise
            attempt.end(result_of_error(error))

    return guarded


class LeanAttempt(Attempt, User):
    """One attempt, from `begin` to its result. Each of its events has a method, and an error in one is a result.

    The connection is the attempt's own from the request to the end of the exchange. Then it is released for another
    attempt, or closed if any byte of the answer may still arrive. So no attempt can get the answer to another one.
    """

    __slots__ = ("_bounds", "_charge", "_client", "_connection", "_exchange", "_on_result", "_task", "envelope")

    def __init__(self, client: Client, envelope: Envelope, charge: Charge, on_result: OnResult) -> None:
        """Wait for `begin`."""
        self.envelope = envelope
        self._client = client
        self._charge = charge
        self._on_result: OnResult | None = on_result
        self._exchange = Exchange()
        self._bounds: BodyBounds | None = None  # of the body that is being read
        self._connection: Connection | None = None  # from the request to the end of the exchange
        self._task: asyncio.Task[None] | None = None  # that waits for a connection, or for the cause of a failure

    @property
    def is_over(self) -> bool:
        """Whether it has a result or is abandoned."""
        return self._on_result is None

    @_guarded
    def begin(self) -> None:
        """Send the first request."""
        self._client.send(self, self._exchange)

    @override
    def abandon(self) -> None:
        self._leave()

    def end(self, result: Result) -> None:
        """Report the result, if there is none yet."""
        on_result = self._leave()
        if on_result is not None:
            on_result(result)

    def wait_for(self, connecting: Coroutine[Any, Any, None]) -> None:
        """Wait for a connection, until `connected` or `not_connected`."""
        self._task = self._client.create_task(connecting)

    @_guarded
    def connected(self, connection: Connection, request: bytes) -> None:
        """Send a request."""
        if self.is_over:  # it was abandoned in the moment in which its connection was made
            connection.abort()
            return
        self._task, self._connection = None, connection
        self._exchange.is_sent = True
        connection.send(request, self)

    @_guarded
    def not_connected(self, error: Exception) -> None:
        """End the attempt without a connection."""
        self._task = None
        if not isinstance(error, OSError):
            raise error
        if has_no_descriptor_left():
            self._exchange.lacks_descriptor = True
        self._fail(detail_of(error), text=text_of(error))

    @override
    @_guarded
    def answer_arrived(self, answer: AnswerReader) -> None:
        self._exchange.is_answered = True
        if answer.is_whole:
            self._conclude(answer)
        elif answer.failure is not None:
            self._fail(answer.failure, text=self._client.judge.text_in_place_of(answer.unreadable))
        elif answer.status:
            self._read_body(answer)

    @override
    @_guarded
    def connection_ended(self, answer: AnswerReader, error: Exception | None) -> None:
        if answer.status:
            self._conclude(answer, broken=("connection", CUT_OFF))
        elif error is None:
            self._fail(CUT_OFF if self._exchange.is_answered else CLOSED)
        elif isinstance(error, OSError):
            self._fail(detail_of(error), text=text_of(error))
        else:
            raise error  # of our own: the event loop has caught it

    @_guarded
    def deadline_passed(self) -> None:
        """End the attempt by the time limit for the whole exchange."""
        if self._connection is not None and self._connection.answer.status:
            self._conclude(self._connection.answer, broken=("timeout", BODY_TIMEOUT))
        else:
            self._client.origin.doubt_address_after(self._exchange)
            self.end(self._exchange.late())

    @_guarded
    def drain_ended(self) -> None:
        """End the attempt by the time limit for a body that is not needed."""
        if self._connection is not None:
            self._conclude(self._connection.answer)

    def _read_body(self, answer: AnswerReader) -> None:
        """Wait for the rest of the body if there is not too much of it."""
        if self._bounds is None:
            self._bounds = self._client.judge.bounds
            if self._bounds.within_s is not None:
                self._client.draining.add(self)
        if len(answer.body) > self._bounds.max_bytes:
            self._conclude(answer)
        elif answer.is_broken:
            self._conclude(answer, broken=("connection", CUT_OFF))

    def _conclude(self, answer: AnswerReader, *, broken: tuple[str, str] | None = None) -> None:
        """Judge an answer by all that has arrived of it.

        Args:
            broken: Reason and detail for which no more arrives, unless it is whole.
        """
        connection, exchange = self._connection, self._exchange
        exchange.closes = not answer.keeps_alive
        if exchange.is_unheard(answer.status):
            self._repeat()
            return
        body = AnswerBody(
            content=bytes(answer.body), is_whole=answer.is_whole, broken=None if answer.is_whole else broken
        )
        result = self._client.judge.result_of(answer.status, answer.headers, body, now=utc_now())
        if connection is not None:
            # Before the result is reported: its receiver may start the next attempt at once, on this connection. From
            # here on the connection and its reader belong to that attempt.
            self._connection = None
            connection.release()
        self.end(result)

    def _fail(self, detail: str, *, text: str | None = None) -> None:
        """End the exchange without a head: repeat the request if its connection was stale, or end the attempt."""
        exchange, origin = self._exchange, self._client.origin
        if exchange.is_stale:
            self._repeat()
            return
        origin.doubt_address_after(exchange)
        failed = exchange.broken(detail, text=text)
        if origin.may_expect_tls(failed, exchange):
            self._end_exchange()
            self._task = self._client.create_task(self._look_into(failed))
        else:
            self.end(failed)

    async def _look_into(self, failed: Failed) -> None:
        result: Result
        try:
            result = await self._client.origin.looked_into(failed)
        except Exception as error:  # noqa: BLE001 - as in `_guarded`
            result = Errored(error=error)
        self._task = None
        self.end(result)

    def _repeat(self) -> None:
        """Send the request once more on a new connection, when this is allowed. No connection is held meanwhile."""
        self._end_exchange()
        self._charge(self._send_again)

    @_guarded
    def _send_again(self) -> None:
        if self.is_over or self._exchange.wants_new:  # it was abandoned while it waited, or is sent already
            return
        self._exchange = Exchange(wants_new=True)
        self._client.send(self, self._exchange)

    def _end_exchange(self) -> None:
        """End the exchange, with its connection if that was not released: the rest of the answer is for no other."""
        self._client.due.discard(self)
        if self._bounds is not None:
            self._client.draining.discard(self)
            self._bounds = None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()

    def _leave(self) -> OnResult | None:
        """End all that is in progress, and return the receiver of the result; None if the attempt was over before."""
        self._end_exchange()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        # Last: if one of the above fails, the attempt is not over, and its guard has an error to report.
        on_result, self._on_result = self._on_result, None
        return on_result
