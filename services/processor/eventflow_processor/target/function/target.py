"""`FunctionTarget`: the port of a target over a function of the user's."""

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog
from typing_extensions import override

from eventflow.errors import DatabaseError
from eventflow.handling.transactions.port import Database
from eventflow.message import Envelope
from eventflow.tasks import cancel_within
from eventflow_processor.target.function.results import database_away
from eventflow_processor.target.port import Attempt, Charge, OnResult, Target
from eventflow_processor.target.result import Errored, Result

CLOSE_MAX_S = 6.0
"""Longest wait for calls at the end: a COMMIT in progress is not cut."""

CANCEL_MAX_S = 1.0
"""Longest wait for cancelled calls at the end: a function can catch each cancellation."""

CHECK_EVERY_S = 5.0

log = structlog.stdlib.get_logger()


class Begun(Attempt, Protocol):
    """An attempt that `begin` starts."""

    def begin(self) -> "asyncio.Future[None]":
        """Start; return a future that is done when nothing of it is left on the event loop."""
        ...


Make = Callable[[Envelope, OnResult], Begun]
"""Makes the attempt for an event."""


class FunctionTarget(Target):
    """Calls the function of a flow once for each attempt.

    Attributes:
        database: Its database, apart from the calls; None if there is none.
        problem: The reason why its database cannot be used, as known from the latest check; None if there was no such
            reason.
    """

    def __init__(self, make: Make, *, flow: str, database: Database | None, on_awaited: Callable[[bool], None]) -> None:
        """Call it by attempts that `make` makes.

        Args:
            make: Makes an attempt.
            flow: The flow, for the log.
            database: Is checked before the first call; None if there is none.
            on_awaited: Called with True when an attempt waits for the check, and with False when a check has ended.
        """
        self._make = make
        self._flow = flow
        self._on_awaited = on_awaited
        self.database = database
        self._is_checked = database is None
        self._check: asyncio.Task[str | None] | None = None
        self._running: set[asyncio.Future[None]] = set()
        self.problem: str | None = None

    @override
    def start(self, envelope: Envelope, *, charge: Charge, on_result: OnResult) -> Attempt:
        attempt: Begun = self._make(envelope, on_result)
        if not self._is_checked and self.database is not None:
            attempt = _AfterCheck(self._checking(self.database), attempt, on_result)
            self._on_awaited(True)
        running = attempt.begin()
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return attempt

    async def checked(self) -> str | None:
        """Check that inbox and outbox are there; return the problem. It is repeated until there is none."""
        if self._is_checked or self.database is None:
            return None
        return await asyncio.shield(self._checking(self.database))

    async def keep_checking(self) -> None:
        """Repeat the check until it succeeds, also if there are no events."""
        while await self.checked() is not None:  # noqa: ASYNC110 - it is the condition itself that is repeated
            await asyncio.sleep(CHECK_EVERY_S)

    def _checking(self, database: Database) -> "asyncio.Task[str | None]":
        """Return the check that is in progress; begin one if there is none."""
        if self._check is None or self._check.done():
            self._check = asyncio.create_task(self._checked_once(database))
        return self._check

    async def _checked_once(self, database: Database) -> str | None:
        try:
            problem = await _problem_of(database)
        finally:
            self._on_awaited(False)
        if problem not in {None, self.problem}:
            log.error("handler.database_away", flow=self._flow, error=problem)
        self.problem, self._is_checked = problem, problem is None
        return problem

    async def close(self) -> None:
        """End all calls on the event loop. A COMMIT in progress is finished; a call that does not end is left alone."""
        if self._running:
            await asyncio.wait(self._running, timeout=CLOSE_MAX_S)
        tasks = [task for task in (*self._running, self._check) if isinstance(task, asyncio.Task)]
        if left := await cancel_within(tasks, CANCEL_MAX_S):
            advice = "let asyncio.CancelledError pass in the function"
            log.error("handler.not_ended", flow=self._flow, calls=len(left), advice=advice)


async def _problem_of(database: Database) -> str | None:
    try:
        await database.require()
    except DatabaseError as error:
        return str(error)
    return None


class _AfterCheck(Begun):
    """An attempt that waits for the check of the database."""

    def __init__(self, check: "asyncio.Task[str | None]", attempt: Begun, on_result: OnResult) -> None:
        self._check = check
        self._attempt = attempt
        self._on_result: OnResult | None = on_result
        self._has_begun = False

    @override
    def begin(self) -> asyncio.Task[None]:
        self._task = asyncio.create_task(self._run())
        return self._task

    @override
    def abandon(self) -> None:
        self._on_result = None
        if self._has_begun:
            self._attempt.abandon()
        else:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            problem = await asyncio.shield(self._check)
        except Exception as error:  # noqa: BLE001 - an error of our own is a result, as the port promises
            self._end(Errored(error=error))
            return
        if problem is not None:
            self._end(database_away(problem))
        elif self._on_result is not None:
            self._has_begun = True
            await self._attempt.begin()

    def _end(self, result: Result) -> None:
        on_result, self._on_result = self._on_result, None
        if on_result is not None:
            on_result(result)
