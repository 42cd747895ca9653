"""The calls of one flow's function: what they have in common, on the event loop and on threads."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

import structlog

from eventflow.handling.context import Context
from eventflow.handling.derived import DerivedEvent
from eventflow.handling.inbox import Key, key_of
from eventflow.handling.loading import Function
from eventflow.message import Envelope
from eventflow.telemetry.logging import shown_id
from eventflow_processor.target.function.fate import Stage
from eventflow_processor.target.function.metrics import FunctionMetrics
from eventflow_processor.target.function.results import DUPLICATE, database_away, events_of, failure_of, too_late
from eventflow_processor.target.result import Failed, Succeeded

COMMIT_MAX_S = 5.0
"""Longest time for a COMMIT. After it, it is unknown whether the server has committed."""

log = structlog.stdlib.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """The calls of one function.

    Attributes:
        flow: The flow of its events.
        flows: Names of all flows, into which an event may be emitted.
        timeout_s: Deadline of one call, without its COMMIT.
        secrets: Texts that no failure may have.
    """

    flow: str
    flows: Collection[str]
    function: Function
    timeout_s: float
    secrets: Collection[str]
    metrics: FunctionMetrics

    def key_of(self, envelope: Envelope) -> Key:
        """Return the key of an event in the inbox."""
        return key_of(envelope.event, flow=self.flow)

    def context_of(self, envelope: Envelope, db: Any) -> Context:
        """Return the second argument of the function."""
        return Context(event=envelope.event, flow=self.flow, flows=self.flows, attempt=envelope.attempt, db=db)

    def events_of(self, returned: object) -> Sequence[DerivedEvent]:
        """Return the events to emit."""
        return events_of(returned, self.flows)

    def skipped(self) -> Succeeded:
        """Count an event that has taken effect before; return its result."""
        self.metrics.skipped.inc()
        return DUPLICATE

    def failed(self, envelope: Envelope, error: BaseException, *, is_away: bool) -> Failed:
        """Return the result of a call that ended with an error.

        Args:
            envelope: Its event.
            error: An error of the function, or of its transaction.
            is_away: Whether the database is known to be away.
        """
        failure = failure_of(error, is_away=is_away, secrets=self.secrets)
        if failure.reason == "handler_raised":
            log.warning("handler.raised", **self._names_of(envelope), error=failure.text, exc_info=error)
        return failure

    def late(self, stage: Stage) -> Failed:
        """Return the result of a call whose deadline is over."""
        match stage:
            case Stage.WAITING:
                text = f"no thread was free for {self.timeout_s:g} s: earlier calls overrun their deadline"
                return Failed(reason="timeout", text=text, reached=False, answered=False)
            case Stage.BEGUN:
                return database_away(f"no transaction has begun within {self.timeout_s:g} s")
            case Stage.CALLED:
                return too_late(self.timeout_s)
            case Stage.ENDING:
                return database_away(f"no answer to COMMIT within {COMMIT_MAX_S:g} s")
            case Stage.GIVEN_UP:
                raise AssertionError("a call has one deadline")
            case _:
                assert_never(stage)

    def overran(self, envelope: Envelope) -> None:
        """Note that a call goes on after its deadline."""
        self.metrics.overrun.inc()
        action = "it keeps its connection and its thread until it returns; its transaction is rolled back then"
        log.error("handler.overran", **self._names_of(envelope), timeout_s=self.timeout_s, action=action)

    def returned(self, envelope: Envelope) -> None:
        """Note that such a call has returned."""
        self.metrics.overrun.dec()
        log.info("handler.returned_late", **self._names_of(envelope))

    def blocked(self, envelope: Envelope, *, at: str, code: str | None) -> None:
        """Note that a call blocks the event loop.

        Args:
            envelope: Its event.
            at: Its place in the function.
            code: The line there, if its file is at hand.
        """
        self.metrics.loop_blocked.inc()
        advice = "await each wait; run a long computation in a thread, or declare the function without `async`"
        log.error("handler.blocked_loop", **self._names_of(envelope), at=at, code=code, advice=advice)

    def _names_of(self, envelope: Envelope) -> dict[str, Any]:
        return {"flow": self.flow, "event_id": shown_id(envelope.event.id), "attempt": envelope.attempt}
