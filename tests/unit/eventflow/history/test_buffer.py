"""Memory of records that wait: bounded, and each record in a row or in a gap."""

import tracemalloc
from collections import Counter
from datetime import timedelta

from eventflow.history.buffer import MINUTES_MIN, ROWS_MAX, HistoryBuffer, Part
from eventflow.history.records import Gap, MinuteCount, MinuteKey
from tests.support.history import NOON, attempt

KIB = 1024


def buffer_of(max_bytes: int = 1024 * KIB) -> tuple[HistoryBuffer, Counter[str]]:
    dropped: Counter[str] = Counter()
    return HistoryBuffer(writer="w", max_bytes=max_bytes, on_dropped=lambda flow, n: dropped.update({flow: n})), dropped


def parts_of(buffer: HistoryBuffer) -> list[Part]:
    parts = []
    while (part := buffer.take()) is not None:
        parts.append(part)
    return parts


def test_rows_are_taken_in_their_order_and_in_batches() -> None:
    buffer, _ = buffer_of(4096 * KIB)
    ready = []
    buffer.on_batch = lambda: ready.append(buffer.pending)
    rows = [attempt(event_id=str(number)) for number in range(2 * ROWS_MAX + 3)]
    for row in rows:
        buffer.add(row)
    assert ready == [ROWS_MAX, 2 * ROWS_MAX]
    assert buffer.pending == len(rows)
    batch = buffer.take_batch()
    assert batch is not None
    parts = [batch, *parts_of(buffer)]
    assert buffer.take_batch() is None
    assert [len(part.attempts) for part in parts] == [ROWS_MAX, ROWS_MAX, 3]
    assert [row for part in parts for row in part.attempts] == rows
    assert buffer.pending == 0


def test_records_that_are_not_here_yet_are_added_before_all_rows_are_taken() -> None:
    buffer, _ = buffer_of()
    late = [attempt(event_id="late")]
    buffer.before_take = lambda: buffer.add(late.pop()) if late else None
    assert buffer.take_batch() is None  # which takes whole batches only
    (part,) = parts_of(buffer)
    assert [row.event_id for row in part.attempts] == ["late"]


def test_a_record_without_room_is_counted_in_a_gap_of_its_flow() -> None:
    buffer, dropped = buffer_of(64 * KIB)
    for second in range(200):
        buffer.add(attempt(flow="ab"[second % 2], started_at=NOON + timedelta(seconds=second)))
    kept = buffer.pending
    assert 20 < kept < 100
    (part,) = parts_of(buffer)
    first = NOON + timedelta(seconds=kept)
    by_flow = {gap.flow: gap for gap in part.gaps}
    assert set(by_flow) == {"a", "b"}
    assert min(gap.since for gap in part.gaps) == first
    assert by_flow["b"].until == NOON + timedelta(seconds=199)
    assert {gap.reason for gap in part.gaps} == {"buffer_full"}
    assert kept + sum(gap.attempts for gap in part.gaps) == 200
    assert dropped == {gap.flow: gap.attempts for gap in part.gaps}


def test_a_gap_spans_attempts_that_ended_in_another_order() -> None:
    buffer, _ = buffer_of()
    for second in (5, 3, 9):
        buffer.drop("default", NOON + timedelta(seconds=second), "refused")
    (part,) = parts_of(buffer)
    assert part.gaps == [
        Gap(
            writer="w",
            flow="default",
            since=NOON + timedelta(seconds=3),
            until=NOON + timedelta(seconds=9),
            attempts=3,
            reason="refused",
        )
    ]


def test_memory_is_in_use_until_a_part_is_released() -> None:
    buffer, dropped = buffer_of(64 * KIB)
    while not dropped:
        buffer.add(attempt())
    part = buffer.take()
    assert part is not None
    buffer.add(attempt())
    assert dropped == {"default": 2}
    buffer.release(part)
    buffer.add(attempt())
    assert buffer.pending == 1


def test_the_size_of_texts_counts() -> None:
    buffer, dropped = buffer_of(64 * KIB)
    for _ in range(8):
        buffer.add(attempt(answer=b"x" * 8000))
    assert dropped == {"default": 1}


def test_records_take_no_more_memory_than_is_counted() -> None:
    limit_bytes = 2 * 1024 * KIB
    buffer, dropped = buffer_of(limit_bytes)
    tracemalloc.start()
    try:
        number = 0
        while not dropped:
            number += 1
            moment = NOON + timedelta(microseconds=number)
            buffer.add(
                attempt(
                    event_id=f"event-{number:030}",
                    source=f"/shops/{number}",
                    type=f"type.{number}",
                    started_at=moment,
                    accepted_at=moment + timedelta(),
                    next_at=moment + timedelta(1),
                    duration_us=number * 1000,
                    trace_id=f"{number:032x}",
                    answer=b"%d" % number,
                )
            )
        used_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used_bytes < limit_bytes


def test_attempts_are_counted_by_minute_and_the_counts_are_bounded() -> None:
    buffer, _ = buffer_of(64 * KIB)
    for minute in range(MINUTES_MIN + 5):
        for duration_us in (10, 30):
            buffer.count((minute, "default", "delivered", "", 200, 0), duration_us)
    counts = [count for part in parts_of(buffer) for count in part.minutes]
    assert len(counts) == MINUTES_MIN
    assert buffer.uncounted == 10
    key = MinuteKey(minute=0, flow="default", outcome="delivered", reason="", status=200, bucket=0)
    assert MinuteCount(key=key, attempts=2, duration_us=40) in counts
