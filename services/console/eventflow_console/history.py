"""The history behind bounds: a query is answered in time, or its value is unknown, with the reason in a sentence."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Generic, Literal, TypeVar

import structlog

from eventflow.errors import HistoryError, HistoryLateError, HistorySchemaError
from eventflow.history.records import Action
from eventflow.history.store import QUERY_MAX_S, HistoryStore
from eventflow_console.metrics import ConsoleMetrics

QUERIES_MAX: Final = 4
"""Queries at the same time. More would only make each other slower, and keep connections from the processors."""

PATIENCE_S: Final = QUERY_MAX_S + 0.5
"""Longest wait for an answer, with the wait for a place. A store ends a late query itself, unless it hangs."""

Lack = Literal["off", "away", "schema", "late", "busy"]
T = TypeVar("T")

log = structlog.stdlib.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """The reason for which a value of the history is unknown.

    Attributes:
        lack: `off` without a store; `away` if it cannot be used, and `schema` if its schema is wrong; `late` if this
            query took too long, and `busy` if others did.
    """

    lack: Lack
    sentence: str

    @property
    def passes(self) -> bool:
        """Whether only this value is unknown: the store works, and may answer the next query."""
        return self.lack in {"late", "busy"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Generic[T]):
    """The answer to a query: its value, or None and a problem. An unknown value is never shown as 0."""

    value: T | None = None
    problem: Problem | None = None


_OFF: Final = Problem(
    lack="off", sentence="No history is kept: set EVENTFLOW_HISTORY__URL for the processors and for the console."
)
_LATE: Final = Problem(
    lack="late", sentence=f"The history did not answer within {QUERY_MAX_S:g} s. Ask for a shorter range of time."
)
_BUSY: Final = Problem(lack="busy", sentence="The history is busy with other queries. Try again in a moment.")


class History:
    """The store of the history, as pages and API ask it.

    Attributes:
        condition: In one word: `off`, `unknown` before the first query, `up`, or the lack of the latest query.
    """

    def __init__(self, store: HistoryStore | None, metrics: ConsoleMetrics) -> None:
        self._store = store
        self._metrics = metrics
        self._places = asyncio.Semaphore(QUERIES_MAX)
        self.condition = "off" if store is None else "unknown"

    @property
    def is_kept(self) -> bool:
        """Whether there is a store."""
        return self._store is not None

    async def ask(self, name: str, query: Callable[[HistoryStore], Awaitable[T]]) -> Answer[T]:
        """Make a query, and return its answer within `PATIENCE_S`.

        Args:
            name: Name of the query in the metrics.
            query: The query.
        """
        if self._store is None:
            return Answer(problem=_OFF)
        problem = _BUSY
        try:
            async with asyncio.timeout(PATIENCE_S), self._places:
                problem, started_s = _LATE, time.perf_counter()
                value = await query(self._store)
        except TimeoutError:
            return self._without(name, problem, error=problem.sentence)
        except HistoryLateError as error:
            return self._without(name, _LATE, error=str(error))
        except HistoryError as error:
            lack: Lack = "schema" if isinstance(error, HistorySchemaError) else "away"
            return self._without(name, Problem(lack=lack, sentence=f"The history cannot be used: {error}"), str(error))
        self.condition = "up"
        self._metrics.query_seconds.labels(name).observe(time.perf_counter() - started_s)
        return Answer(value=value)

    async def record(self, action: Action) -> None:
        """Put an action of an operator on record, if the store takes it in time. The log has the action too."""
        if self._store is None:
            return
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._store.put_action(action)
        except (HistoryError, TimeoutError) as error:
            self._metrics.query_failures.labels(query="put_action", reason="away").inc()
            log.warning("history.action_not_recorded", kind=action.kind, error=str(error) or "no answer in time")

    def _without(self, name: str, problem: Problem, error: str) -> Answer[T]:
        self.condition = problem.lack
        self._metrics.query_failures.labels(query=name, reason=problem.lack).inc()
        log.warning("history.query_failed", query=name, reason=problem.lack, error=error)
        return Answer(problem=problem)
