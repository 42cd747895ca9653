"""The call of a function that is not `async`: on a thread, in which its transaction begins and ends.

A thread cannot be stopped. So a call that overruns its deadline keeps its thread until it returns, and its transaction
is rolled back then.
"""

import asyncio
from functools import partial

from typing_extensions import override

from eventflow.errors import DatabaseError
from eventflow.handling.transactions.port import ThreadTransaction, ThreadTransactions
from eventflow.message import Envelope
from eventflow.threads import call_on_loop
from eventflow_processor.target.function.calls import COMMIT_MAX_S, Calls
from eventflow_processor.target.function.fate import Fate, Stage
from eventflow_processor.target.function.results import SUCCEEDED
from eventflow_processor.target.function.workers import Workers
from eventflow_processor.target.port import Attempt, OnResult
from eventflow_processor.target.result import Errored, Result


class ThreadAttempt(Attempt):
    """One call of a function on a thread."""

    __slots__ = (
        "_calls",
        "_done",
        "_envelope",
        "_fate",
        "_has_overrun",
        "_loop",
        "_on_result",
        "_timer",
        "_transactions",
        "_workers",
    )

    def __init__(
        self,
        calls: Calls,
        transactions: ThreadTransactions,
        workers: Workers,
        envelope: Envelope,
        on_result: OnResult,
    ) -> None:
        """Wait for `begin`."""
        self._calls = calls
        self._transactions = transactions
        self._workers = workers
        self._envelope = envelope
        self._on_result: OnResult | None = on_result
        self._fate = Fate()
        self._has_overrun = False

    def begin(self) -> "asyncio.Future[None]":
        """Wait for a free thread, until the deadline."""
        self._loop = loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = loop.create_future()
        self._timer = loop.call_later(self._calls.timeout_s, self._be_late)
        try:
            self._workers.submit(self._run)
        except RuntimeError as error:
            self._fate.give_up()  # the call still waits for a thread, and the event gets another attempt
            self._end(Errored(error=error))
        return self._done

    @override
    def abandon(self) -> None:
        self._on_result = None
        self._fate.give_up()
        self._finish()

    def _be_late(self) -> None:
        stage = self._fate.give_up()
        match stage:
            case Stage.ENDING:
                self._timer = self._loop.call_later(COMMIT_MAX_S, self._end, self._calls.late(stage))
                return
            case Stage.BEGUN | Stage.CALLED:
                self._has_overrun = True
                self._calls.overran(self._envelope)
        self._end(self._calls.late(stage))

    def _run(self) -> None:
        """Do it all, on a thread."""
        if not self._fate.enter(Stage.BEGUN):
            return
        try:
            result = self._call()
        except Exception as error:  # noqa: BLE001 - an error of our own is a result, as the port promises
            result = Errored(error=error)
        call_on_loop(self._loop, partial(self._return, result))

    def _return(self, result: Result) -> None:
        if self._has_overrun:
            self._calls.returned(self._envelope)
        self._end(result)

    def _end(self, result: Result) -> None:
        on_result, self._on_result = self._on_result, None
        self._finish()
        if on_result is not None:
            on_result(result)

    def _finish(self) -> None:
        self._timer.cancel()
        if not self._done.done():
            self._done.set_result(None)

    def _call(self) -> Result:
        try:
            transaction = self._transactions.begin()
        except DatabaseError as error:
            return self._calls.failed(self._envelope, error, is_away=True)
        try:
            return self._work_in(transaction)
        finally:
            transaction.end()

    def _work_in(self, transaction: ThreadTransaction) -> Result:
        calls, envelope = self._calls, self._envelope
        try:
            if not transaction.claim(calls.key_of(envelope)):
                return calls.skipped()
            if not self._fate.enter(Stage.CALLED):
                return calls.late(Stage.BEGUN)
            returned = calls.function.call(envelope.event, calls.context_of(envelope, transaction.db))
            transaction.put(calls.events_of(returned))
        except BaseException as error:  # noqa: BLE001 - code of the user, and its thread must stay
            self._fate.enter(Stage.ENDING)
            return calls.failed(envelope, error, is_away=transaction.is_lost())
        if not self._fate.enter(Stage.ENDING):
            return calls.late(Stage.CALLED)
        try:
            transaction.commit()
        except Exception as error:  # noqa: BLE001 - an error of any driver
            return calls.failed(envelope, error, is_away=transaction.is_lost() or isinstance(error, OSError))
        return SUCCEEDED
