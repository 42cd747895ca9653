"""Log of the attempts: one wide line for each, with all identifiers and the decision."""

import logging
import math
import time
from typing import Any, assert_never

import structlog
from typing_extensions import override

from eventflow.errors import DeliveryLostError
from eventflow.network.failure import MEANINGS
from eventflow.outcome import DeadLetter, Defer, Delivered, Hold, Outcome, Retry, copy_queue
from eventflow.telemetry.logging import shown_id
from eventflow_processor.attempt import Attempted
from eventflow_processor.observe.observer import Observer
from eventflow_processor.target.result import Errored, Failed, Result, Succeeded, Unsendable

SAME_DETAIL_S = 60.0
"""Shortest time between two warnings with the same `detail`, because in an outage every attempt fails."""

log = structlog.stdlib.get_logger()


class AttemptLog(Observer):
    """Writes `delivery.attempted` for every attempt that has an outcome, and `delivery.lost` if its channel closed.

    The levels: an event that is given up is an error, one that is retried is info, all others are debug. The first
    failure in the network with a certain `detail` within a minute is a warning, even if it does not count.
    """

    def __init__(self, *, flow: str) -> None:
        self._flow = flow
        self._log = log.bind(flow=flow)
        self._warned_s: dict[str, float] = {}

    @override
    def attempted(self, attempted: Attempted) -> None:
        if attempted.outcome is None:
            if isinstance(attempted.error, DeliveryLostError):
                reason = str(attempted.error)
                self._log.warning("delivery.lost", **_identifiers(attempted), reason=reason, action="delivered again")
            return
        level = self._level_of(attempted.outcome, attempted.result)
        if self._log.is_enabled_for(level):  # usually debug is off, and building the fields would cost time
            fields = _identifiers(attempted) | self._decision_of(attempted.outcome) | _answer_of(attempted)
            self._log.log(level, "delivery.attempted", **{k: v for k, v in fields.items() if v is not None})

    def _level_of(self, outcome: Outcome, result: Result | None) -> int:
        level = _level_of_outcome(outcome)
        if isinstance(result, Failed) and result.detail is not None and self._is_news(result.detail):
            return max(level, logging.WARNING)
        return level

    def _is_news(self, detail: str) -> bool:
        now_s = time.monotonic()
        if now_s - self._warned_s.get(detail, -math.inf) < SAME_DETAIL_S:
            return False
        self._warned_s[detail] = now_s
        return True

    def _decision_of(self, outcome: Outcome) -> dict[str, Any]:
        return {
            "outcome": outcome.word,
            "queue": copy_queue(outcome, flow=self._flow),
            "delay_s": outcome.delay_s if isinstance(outcome, Retry | Defer) else None,
        }


def _level_of_outcome(outcome: Outcome) -> int:
    match outcome:
        case Delivered() | Defer() | Hold():
            return logging.DEBUG
        case Retry():
            return logging.INFO
        case DeadLetter():
            return logging.ERROR
        case _:
            assert_never(outcome)


def _identifiers(attempted: Attempted) -> dict[str, Any]:
    trace = {} if attempted.spans is None else {"trace_id": attempted.spans.trace_id}
    return {
        "event_id": shown_id(attempted.delivery.envelope.event.id),
        "attempt": attempted.delivery.envelope.attempt,
        "lane": attempted.delivery.lane.value,
        **trace,
    }


def _answer_of(attempted: Attempted) -> dict[str, Any]:
    """Describe the result of the request. A dead letter's reason comes first: it can be `too_large`, as no answer's."""
    failure = attempted.outcome.envelope.failure if isinstance(attempted.outcome, DeadLetter) else None
    times = {"duration_s": round(attempted.duration_s, 6), "settlement_s": round(attempted.settlement_s, 6)}
    match attempted.result:
        case Succeeded(status=status, reason=reason):
            return {"status": status, "reason": reason, **times}
        case Failed(reason=reason, status=status, detail=detail, text=text):
            return {
                "status": status,
                "reason": reason if failure is None else failure.reason,
                "detail": detail,
                "meaning": None if detail is None else MEANINGS.get(detail),
                "text": text,
                **times,
            }
        case Unsendable(text=text):
            return {"reason": "unsendable", "text": text, **times}
        case Errored(error=error):
            return {"error": type(error).__name__, **times}
        case None:
            return times
        case _:
            assert_never(attempted.result)
