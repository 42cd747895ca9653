"""The call of an `async` function: a task, in which its transaction begins and ends."""

import asyncio

from typing_extensions import override

from eventflow.errors import DatabaseError
from eventflow.handling.transactions.port import Transaction, Transactions
from eventflow.message import Envelope
from eventflow_processor.target.function.calls import COMMIT_MAX_S, Calls
from eventflow_processor.target.function.fate import Fate, Stage
from eventflow_processor.target.function.loop_watch import LoopWatch
from eventflow_processor.target.function.results import SUCCEEDED
from eventflow_processor.target.port import Attempt, OnResult
from eventflow_processor.target.result import Errored, Failed, Result

GRACE_S = 3.0
"""Time after the deadline in which a cancelled function can end, so that its transaction is rolled back before the
next attempt. After it, the attempt ends without it."""


class AsyncAttempt(Attempt):
    """One call of an `async` function."""

    __slots__ = ("_calls", "_envelope", "_fate", "_late", "_on_result", "_task", "_timer", "_transactions", "_watch")

    def __init__(
        self, calls: Calls, transactions: Transactions, watch: LoopWatch, envelope: Envelope, on_result: OnResult
    ) -> None:
        """Wait for `begin`."""
        self._calls = calls
        self._transactions = transactions
        self._watch = watch
        self._envelope = envelope
        self._on_result: OnResult | None = on_result
        self._fate = Fate()
        self._late: Failed | None = None

    def begin(self) -> asyncio.Task[None]:
        """Start the task and its deadline."""
        loop = asyncio.get_running_loop()
        self._fate.enter(Stage.BEGUN)
        self._timer = loop.call_later(self._calls.timeout_s, self._be_late)
        self._task = loop.create_task(self._run())
        self._watch.add(self._task, self._calls, self._envelope)
        return self._task

    @override
    def abandon(self) -> None:
        self._on_result = None
        self._timer.cancel()
        if self._fate.give_up() is not Stage.ENDING:
            self._task.cancel()

    def _be_late(self) -> None:
        stage = self._fate.give_up()
        if stage is Stage.ENDING:
            return  # it has a limit of its own
        self._late = self._calls.late(stage)
        self._task.cancel()
        # The function may catch the cancellation, and go on. It cannot commit any more.
        self._timer = asyncio.get_running_loop().call_later(GRACE_S, self._overrun)

    def _overrun(self) -> None:
        self._calls.overran(self._envelope)
        self._task.add_done_callback(lambda _: self._calls.returned(self._envelope))
        self._end(self._late)

    async def _run(self) -> None:
        result: Result | None = None
        try:
            result = await self._call()
        except asyncio.CancelledError as error:
            if not self._fate.is_given_up:  # the function has cancelled itself
                result = self._calls.failed(self._envelope, error, is_away=False)
        except Exception as error:  # noqa: BLE001 - an error of our own is a result, as the port promises
            result = Errored(error=error)
        self._timer.cancel()
        self._end(self._late or result)

    def _end(self, result: Result | None) -> None:
        on_result, self._on_result = self._on_result, None
        if on_result is not None and result is not None:
            on_result(result)

    async def _call(self) -> Result:
        try:
            transaction = await self._transactions.begin()
        except DatabaseError as error:
            return self._calls.failed(self._envelope, error, is_away=True)
        try:
            return await self._work_in(transaction)
        finally:
            await transaction.end()

    async def _work_in(self, transaction: Transaction) -> Result:
        calls, envelope = self._calls, self._envelope
        try:
            if not await transaction.claim(calls.key_of(envelope)):
                return calls.skipped()
            self._fate.enter(Stage.CALLED)
            returned = await calls.function.call(envelope.event, calls.context_of(envelope, transaction.db))
            await transaction.put(calls.events_of(returned))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - code of the user, which can raise anything
            self._require_in_time()
            return calls.failed(envelope, error, is_away=transaction.is_lost())
        self._require_in_time()
        try:
            async with asyncio.timeout(COMMIT_MAX_S):
                await transaction.commit()
        except Exception as error:  # noqa: BLE001 - an error of any driver
            return calls.failed(envelope, error, is_away=transaction.is_lost() or isinstance(error, OSError))
        return SUCCEEDED

    def _require_in_time(self) -> None:
        """Begin the end of the call, which nothing cuts.

        Raises:
            CancelledError: It was given up, and the function has caught the cancellation.
        """
        if not self._fate.enter(Stage.ENDING):
            raise asyncio.CancelledError
