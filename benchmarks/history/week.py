"""A week of records as a busy target leaves them: random event ids, retries, and an outage of five hours. Pure."""

import heapq
import random
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from eventflow.history.records import DURATION_BUCKETS_S, AttemptRecord, MinuteCount, MinuteKey, unix_microseconds

WEEK = timedelta(days=7)
RARE_TYPE = "refund.created"

_FLOWS = ("default",) * 8 + ("crm", "mail")
_TYPES = ("order.paid",) * 60 + ("order.shipped",) * 30 + ("customer.updated",) * 9 + (RARE_TYPE,)
_FAILURES = (
    *(("client_error", 422),) * 2,
    *(("server_error", 500),) * 5,
    *(("server_error", 503),) * 2,
    *(("throttled", 429),) * 4,
    *(("timeout", None),) * 2,
)
_OUTAGE = (0.40, 0.43)
_ANSWER = b'{"error": {"code": "invalid_field", "message": "customer.email is not a valid address", "field": "email"}}'
_ATTEMPTS_MAX = 5
_RETRY_S = (1.0, 5.0, 30.0, 120.0)
_BUCKETS_US = tuple(int(bucket_s * 1e6) for bucket_s in DURATION_BUCKETS_S)


class _Turn(NamedTuple):
    """An event with its next attempt. Turns are ordered by the first field."""

    due_s: float
    event_id: str
    flow: str
    type: str
    accepted_at: datetime
    attempt: int


def week(attempts: int, *, until: datetime, seed: int = 1) -> Iterator[AttemptRecord]:
    """Make a week of attempts in the order of their starts. It is always the same for a seed.

    Args:
        attempts: Their number.
        until: End of the week.
        seed: Of the random numbers.
    """
    chance = random.Random(seed)
    since, step_s = until - WEEK, WEEK.total_seconds() / attempts
    due: list[_Turn] = []
    for number in range(attempts):
        now_s = number * step_s
        started_at = since + timedelta(seconds=now_s)
        turn = heapq.heappop(due) if due and due[0].due_s <= now_s else _new_turn(chance, started_at)
        is_outage = _OUTAGE[0] < number / attempts < _OUTAGE[1]
        if not is_outage and chance.random() > (0.03 if turn.attempt == 1 else 0.3):
            yield _success(turn, chance, started_at)
            continue
        reason, status = ("connection", None) if is_outage else chance.choice(_FAILURES)
        if turn.attempt == _ATTEMPTS_MAX or status == 422:
            yield _failure(turn, chance, started_at, reason=reason, status=status, delay_s=None)
            continue
        delay_s = _RETRY_S[turn.attempt - 1]
        heapq.heappush(due, turn._replace(due_s=now_s + delay_s, attempt=turn.attempt + 1))
        yield _failure(turn, chance, started_at, reason=reason, status=status, delay_s=delay_s)


def minutes_of(attempts: Iterable[AttemptRecord]) -> list[MinuteCount]:
    """Count attempts by minute, as a processor does."""
    counts: dict[MinuteKey, int] = defaultdict(int)
    durations_us: dict[MinuteKey, int] = defaultdict(int)
    for attempt in attempts:
        key = MinuteKey(
            minute=unix_microseconds(attempt.started_at) // 60_000_000,
            flow=attempt.flow,
            outcome=attempt.outcome,
            reason=attempt.reason or "",
            status=attempt.status or 0,
            bucket=bisect_left(_BUCKETS_US, attempt.duration_us),
        )
        counts[key] += 1
        durations_us[key] += attempt.duration_us
    return [MinuteCount(key=key, attempts=count, duration_us=durations_us[key]) for key, count in counts.items()]


def _new_turn(chance: random.Random, now: datetime) -> _Turn:
    return _Turn(
        due_s=0.0,
        event_id=_uuid(chance.getrandbits(128)),
        flow=chance.choice(_FLOWS),
        type=chance.choice(_TYPES),
        accepted_at=now - timedelta(seconds=chance.random()),
        attempt=1,
    )


def _success(turn: _Turn, chance: random.Random, started_at: datetime) -> AttemptRecord:
    return AttemptRecord(
        id=_uuid_in_order(started_at, chance),
        flow=turn.flow,
        event_id=turn.event_id,
        type=turn.type,
        source="https://shop.example/webhooks",
        subject=turn.event_id[:8],
        accepted_at=turn.accepted_at,
        started_at=started_at,
        duration_us=int(10_000 / (chance.random() + 0.01)),
        attempt=turn.attempt,
        lane="live" if turn.attempt == 1 else "due",
        outcome="delivered",
        settled=True,
        reason=None,
        detail=None,
        text=None,
        status=200,
        next_at=None,
        answer=None,
        answer_type="application/json",
        answer_bytes=2,
        trace_id=None,
        writer="processor-1",
    )


def _failure(
    turn: _Turn,
    chance: random.Random,
    started_at: datetime,
    *,
    reason: str,
    status: int | None,
    delay_s: float | None,
) -> AttemptRecord:
    has_answer = status is not None
    return _success(turn, chance, started_at)._replace(
        outcome="dead" if delay_s is None else "retry",
        reason=reason,
        detail="refused" if reason == "connection" else None,
        text=None if has_answer else "there was no answer",
        status=status,
        next_at=None if delay_s is None else started_at + timedelta(seconds=delay_s),
        answer=_ANSWER if has_answer else None,
        answer_type="application/json" if has_answer else None,
        answer_bytes=len(_ANSWER) if has_answer else None,
    )


def _uuid(value: int) -> str:
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _uuid_in_order(moment: datetime, chance: random.Random) -> str:
    """Make a UUID of version 7 for a time."""
    milliseconds = unix_microseconds(moment) // 1000
    return _uuid((milliseconds << 80) | (0x7 << 76) | (0b10 << 62) | chance.getrandbits(62))
