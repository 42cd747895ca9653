"""The queries of the console and the command, those without a match too, which search the longest."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from benchmarks.history.week import RARE_TYPE, WEEK
from eventflow.history.filters import FAILURES, RANGE_MAX, AttemptFilter, Cursor
from eventflow.history.store import ArchiveStore

Query = Callable[[], Awaitable[Sequence[Any]]]

FLOW = "default"


async def queries(store: ArchiveStore, *, until: datetime) -> dict[str, Query]:
    """Return all queries on a week of records, by name.

    Args:
        store: A store that `fill` has filled.
        until: End of the week.
    """
    [middle] = await store.attempts(AttemptFilter(flow=FLOW, until=until - WEEK / 2), limit=1)
    deep = Cursor(middle.started_at, middle.id)
    day: dict[str, Any] = {"since": until - WEEK / 2, "until": until - WEEK / 2 + RANGE_MAX}

    def page(after: Cursor | None = None, **conditions: Any) -> Query:
        selection = AttemptFilter(flow=FLOW, **conditions)
        return lambda: store.attempts(selection, after=after)

    def minutes(span: timedelta, step_minutes: int) -> Query:
        return lambda: store.minutes(FLOW, since=until - span, until=until, step_minutes=step_minutes)

    return {
        "the attempts of an event": lambda: store.attempts_of(middle.event_id),
        "an event that is not there": lambda: store.attempts_of("not there"),
        "the latest attempts": page(),
        "attempts in the middle of the week": page(deep),
        "failures": page(outcome=FAILURES),
        "failures in the middle of the week": page(deep, outcome=FAILURES),
        "failures by reason": page(outcome=FAILURES, reason="timeout"),
        "failures by status": page(outcome=FAILURES, status=422),
        "failures by type": page(outcome=FAILURES, type=RARE_TYPE),
        "failures of one outcome": page(outcome="dead"),
        "failures by four conditions": page(outcome="dead", reason="client_error", status=422, type=RARE_TYPE),
        "failures by status and type, no match": page(outcome=FAILURES, status=418, type="order.paid"),
        "failures of one outcome, no match": page(outcome="lost"),
        "successes of a day": page(outcome="delivered", **day),
        "a type in a day": page(type=RARE_TYPE, **day),
        "a type in a day, no match": page(type="not there", **day),
        "a status in a day, no match": page(status=418, **day),
        "an hour by minute": minutes(timedelta(hours=1), 1),
        "a day by 15 minutes": minutes(timedelta(days=1), 15),
        "a week by 2 hours": minutes(WEEK, 120),
        "the backlog of a week": lambda: store.flow_minutes(FLOW, since=until - WEEK, until=until),
        "the gaps of a week": lambda: store.gaps(FLOW, since=until - WEEK, until=until),
        "writers": store.writers,
        "actions": lambda: store.actions(flow=FLOW),
    }
