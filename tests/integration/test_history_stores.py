"""Both stores of the history keep the promises of their port, and answer alike."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.history.week import minutes_of, week
from eventflow.errors import HistoryRefusedError
from eventflow.event import new_event_id
from eventflow.history.filters import FAILURES, RANGE_MAX, AttemptFilter, Cursor
from eventflow.history.postgres.store import PostgresStore
from eventflow.history.records import (
    LOST,
    OUTCOMES,
    Action,
    AttemptRecord,
    Batch,
    FlowMinute,
    Gap,
    MinuteCount,
    MinuteKey,
    is_failure,
    unix_microseconds,
)
from eventflow.history.sqlite.store import SqliteStore
from eventflow.history.store import HistoryStore
from tests.support.databases import empty_database
from tests.support.history import NOON, attempt

DAY, HOUR, MINUTE, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)

WIDE = {"since": NOON - HOUR, "until": NOON + HOUR}


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.database)])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[HistoryStore]:
    """An empty store of each kind."""
    async with AsyncExitStack() as stack:
        opened: HistoryStore
        if request.param == "sqlite":
            opened = SqliteStore(tmp_path / "history.db")
        else:  # not by the fixture `database`: an asynchronous fixture cannot ask for another one
            server_url = request.getfixturevalue("database_server_url")
            opened = PostgresStore(await stack.enter_async_context(empty_database(server_url)))
        stack.push_async_callback(opened.close)
        await opened.migrate()
        yield opened


class Recorder:
    """Writes records as one writer, with numbers in their order."""

    def __init__(self, store: HistoryStore, *, name: str = "processor-1") -> None:
        self._store = store
        self._name = name
        self._number = 0

    async def record(
        self, *attempts: AttemptRecord, minutes: Sequence[MinuteCount] = (), gaps: Sequence[Gap] = ()
    ) -> Batch:
        self._number += 1
        batch = Batch(writer=self._name, number=self._number, attempts=attempts, minutes=minutes, gaps=gaps)
        await self._store.append(batch)
        return batch


@pytest.fixture
def recorder(store: HistoryStore) -> Recorder:
    return Recorder(store)


async def every(store: HistoryStore, selection: AttemptFilter, *, limit: int = 7) -> list[AttemptRecord]:
    """Read a selection page by page."""
    found: list[AttemptRecord] = []
    after: Cursor | None = None
    while page := await store.attempts(selection, after=after, limit=limit):
        assert len(page) <= limit
        found += page
        after = Cursor.parse(Cursor(page[-1].started_at, page[-1].id).text)
    return found


def newest_first(records: Sequence[AttemptRecord]) -> list[AttemptRecord]:
    return sorted(records, key=lambda record: (record.started_at, record.id), reverse=True)


# Attempts


async def test_an_attempt_comes_back_as_it_was_written(store: HistoryStore, recorder: Recorder) -> None:
    whole = attempt(
        subject="orders/1",
        duration_us=5_000_001,
        attempt=3,
        lane="due",
        outcome="retry",
        reason="client_error",
        detail="reset",
        text="the connection was lost",
        status=422,
        next_at=NOON + timedelta(days=400),
        answer=b"\0\xff{}",
        answer_type="text/plain; charset=utf-8",
        answer_bytes=4,
        trace_id="0af7651916cd43dd8448eb211c80319c",
    )
    bare = attempt(event_id="bare", accepted_at=None, status=None, outcome=LOST, settled=False)
    await recorder.record(whole, bare)
    assert await store.attempts_of("order-1") == [whole]
    assert await store.attempts_of("bare") == [bare]


async def test_a_batch_that_is_written_twice_is_on_record_once(store: HistoryStore, recorder: Recorder) -> None:
    record = attempt()
    gap = Gap(writer="processor-1", flow="default", since=NOON, until=NOON, attempts=2, reason="buffer_full")
    batch = await recorder.record(record, minutes=minutes_of([record]), gaps=[gap])
    await store.append(batch)
    assert await store.attempts_of("order-1") == [record]
    assert [minute.attempts for minute in await store.minutes("default", **WIDE)] == [1]
    assert await store.gaps("default", **WIDE) == [gap]


async def test_the_number_of_a_batch_says_after_a_loss_whether_it_is_on_record(
    store: HistoryStore, recorder: Recorder
) -> None:
    assert await store.last_batch("processor-1") == 0
    for number in (1, 2, 3):
        await recorder.record(attempt(event_id=f"order-{number}"))
        assert await store.last_batch("processor-1") == number
    await Recorder(store, name="processor-2").record()
    assert await store.last_batch("processor-2") == 1
    assert await store.last_batch("processor-1") == 3


@pytest.mark.parametrize("refused", [{"duration_us": 1 << 63}, {"type": None}], ids=str)
async def test_a_refused_row_leaves_nothing_of_its_batch(
    store: HistoryStore, recorder: Recorder, refused: dict[str, Any]
) -> None:
    records = [attempt() for _ in range(100)]
    with pytest.raises(HistoryRefusedError):
        await recorder.record(*records, attempt(**refused), *records, minutes=minutes_of(records))
    assert await store.attempts_of("order-1") == []
    assert await store.minutes("default", **WIDE) == []
    assert await store.last_batch("processor-1") == 0
    await store.append(Batch(writer="processor-1", number=1, attempts=records))
    assert len(await store.attempts_of("order-1")) == 100


async def test_several_writers_at_the_same_time_lose_nothing(store: HistoryStore) -> None:
    async def write(name: str) -> None:
        recorder = Recorder(store, name=name)
        for number in range(5):
            records = [attempt(event_id=f"{name}-{number}") for _ in range(20)]
            await recorder.record(*records, minutes=minutes_of(records))

    await asyncio.gather(*(write(f"processor-{number}") for number in range(3)))
    assert len(await every(store, AttemptFilter(flow="default"), limit=200)) == 300
    assert sum(minute.attempts for minute in await store.minutes("default", **WIDE)) == 300


async def test_the_attempts_of_an_event_come_in_their_order_from_one_flow_or_all(
    store: HistoryStore, recorder: Recorder
) -> None:
    first, second, third = (attempt(started_at=NOON + number * SECOND, attempt=number) for number in (1, 2, 3))
    elsewhere = attempt(flow="other", started_at=NOON)
    await recorder.record(third, first, attempt(event_id="order-2"), elsewhere, second)
    assert await store.attempts_of("order-1") == [elsewhere, first, second, third]
    assert await store.attempts_of("order-1", flow="default") == [first, second, third]
    assert await store.attempts_of("order-1", limit=2) == [elsewhere, first]
    assert await store.attempts_of("order-3") == []


async def test_pages_have_each_attempt_once_also_if_many_started_at_the_same_time(
    store: HistoryStore, recorder: Recorder
) -> None:
    records = [attempt(started_at=NOON + number // 10 * MICROSECOND) for number in range(60)]
    random.Random(1).shuffle(records)
    await recorder.record(*records)
    assert await every(store, AttemptFilter(flow="default")) == newest_first(records)


async def test_no_page_repeats_or_leaves_out_an_attempt_while_newer_ones_are_written(
    store: HistoryStore, recorder: Recorder
) -> None:
    records = [attempt(started_at=NOON + number * SECOND) for number in range(50)]
    await recorder.record(*records)
    found, after = [], None
    while page := await store.attempts(AttemptFilter(flow="default"), after=after, limit=7):
        found += page
        after = Cursor(page[-1].started_at, page[-1].id)
        await recorder.record(*(attempt(started_at=NOON + MINUTE + number * SECOND) for number in range(5)))
    assert found == newest_first(records)


async def test_a_selection_begins_with_its_earliest_start_and_ends_before_its_latest(
    store: HistoryStore, recorder: Recorder
) -> None:
    records = [attempt(started_at=NOON + number * MICROSECOND) for number in range(4)]
    await recorder.record(*records)
    selection = AttemptFilter(flow="default", since=NOON + MICROSECOND, until=NOON + 3 * MICROSECOND)
    assert await store.attempts(selection) == [records[2], records[1]]


REASONS, STATUSES, TYPES = ("timeout", "client_error"), (422, 503), ("order.paid", "order.shipped")


@pytest.fixture
async def varied(recorder: Recorder) -> list[AttemptRecord]:
    """Attempts with all combinations of the values that filters compare, in a time of three hours."""
    chance = random.Random(1)
    records = []
    for number in range(400):
        outcome = chance.choice(OUTCOMES)
        has_failed = outcome != "delivered"
        records.append(
            attempt(
                flow=chance.choice(("default", "other")),
                started_at=NOON + number // 2 * MINUTE,
                type=chance.choice(TYPES),
                outcome=outcome,
                settled=chance.random() < 0.9,
                reason=chance.choice((*REASONS, None)) if has_failed else None,
                status=chance.choice((*STATUSES, None)) if has_failed else 200,
            )
        )
    await recorder.record(*records)
    return records


def selections() -> st.SearchStrategy[AttemptFilter]:
    """All filters that are allowed."""
    moments = st.integers(-10, 210).map(lambda minutes: NOON + minutes * MINUTE)
    conditions = {
        "flow": st.sampled_from(("default", "other", "unknown")),
        "outcome": st.sampled_from((None, FAILURES, *OUTCOMES)),
        "reason": st.sampled_from((None, *REASONS, "internal")),
        "status": st.sampled_from((None, *STATUSES, 200)),
        "type": st.sampled_from((None, *TYPES, "unknown")),
    }
    ranges = st.tuples(moments, moments).map(lambda ends: {"since": min(ends), "until": max(ends)})
    unbounded = st.fixed_dictionaries({**conditions, "outcome": st.sampled_from((FAILURES, "dead", "retry", LOST))})
    bounded = st.tuples(st.fixed_dictionaries(conditions), ranges).map(lambda parts: parts[0] | parts[1])
    return st.one_of(unbounded, bounded).map(lambda fields: AttemptFilter(**fields))


def is_selected(record: AttemptRecord, selection: AttemptFilter) -> bool:
    """The meaning of a filter in plain Python."""
    return (
        record.flow == selection.flow
        and (selection.outcome in {None, record.outcome} or (selection.outcome == FAILURES and is_failure(record)))
        and selection.reason in {None, record.reason}
        and selection.status in {None, record.status}
        and selection.type in {None, record.type}
        and (selection.since is None or record.started_at >= selection.since)
        and (selection.until is None or record.started_at < selection.until)
    )


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(selection=selections(), limit=st.integers(1, 200))
async def test_a_filter_selects_exactly_what_it_means(
    store: HistoryStore, varied: list[AttemptRecord], selection: AttemptFilter, limit: int
) -> None:
    expected = newest_first([record for record in varied if is_selected(record, selection)])
    assert await store.attempts(selection, limit=limit) == expected[:limit]
    if expected:
        middle = expected[len(expected) // 2]
        after = Cursor(middle.started_at, middle.id)
        assert await store.attempts(selection, after=after, limit=200) == expected[len(expected) // 2 + 1 :][:200]


async def test_a_range_of_a_day_is_accepted_up_to_its_last_microsecond(store: HistoryStore, recorder: Recorder) -> None:
    last = attempt(started_at=NOON + RANGE_MAX - MICROSECOND)
    await recorder.record(last, attempt(started_at=NOON + RANGE_MAX))
    selection = AttemptFilter(flow="default", outcome="delivered", since=NOON, until=NOON + RANGE_MAX)
    assert await store.attempts(selection) == [last]


# Minutes


def total(minutes: Sequence[MinuteCount]) -> Counter[MinuteKey]:
    return Counter({minute.key: minute.attempts for minute in minutes})


async def test_minutes_equal_a_count_of_the_attempts(store: HistoryStore, recorder: Recorder) -> None:
    records = list(week(2000, until=NOON))
    for start in range(0, len(records), 100):
        part = records[start : start + 100]
        await recorder.record(*part, minutes=minutes_of(part))
    for flow in ("default", "crm", "mail"):
        expected = minutes_of([record for record in records if record.flow == flow])
        found = await store.minutes(flow, since=NOON - 8 * DAY, until=NOON + DAY)
        assert sorted(found, key=lambda minute: minute.key) == sorted(expected, key=lambda minute: minute.key)
        assert [minute.key.minute for minute in found] == sorted(minute.key.minute for minute in found)


@pytest.mark.parametrize("step", [1, 15, 60, 120])
@pytest.mark.parametrize(
    ("since", "until"),
    [
        (NOON - 8 * DAY, NOON + DAY),
        (NOON - 3 * DAY + 17 * MINUTE, NOON - 2 * DAY - 25 * MINUTE),
        (NOON - DAY + 10 * MINUTE, NOON - DAY + 50 * MINUTE),
    ],
    ids=["all", "a day that begins and ends within an hour", "a part of an hour"],
)
async def test_minutes_are_summed_by_steps(
    store: HistoryStore, recorder: Recorder, step: int, since: datetime, until: datetime
) -> None:
    records = list(week(1000, until=NOON))
    await recorder.record(minutes=minutes_of(records[:500]))
    await recorder.record(minutes=minutes_of(records[500:]))
    expected: Counter[MinuteKey] = Counter()
    durations_us = 0
    for record in records:
        if record.flow == "default" and since <= record.started_at < until:
            [minute] = minutes_of([record])
            expected[minute.key._replace(minute=minute.key.minute // step * step)] += 1
            durations_us += record.duration_us
    found = await store.minutes("default", since=since, until=until, step_minutes=step)
    assert len(found) == len(expected)
    assert total(found) == expected
    assert sum(minute.duration_us for minute in found) == durations_us


async def test_minutes_belong_to_a_range_if_they_start_in_it(store: HistoryStore, recorder: Recorder) -> None:
    noon = unix_microseconds(NOON) // 60_000_000
    keys = [MinuteKey(noon + number, "default", "delivered", "", 200, 3) for number in range(4)]
    await recorder.record(minutes=[MinuteCount(key=key, attempts=1, duration_us=1) for key in keys])

    async def found(since: datetime, until: datetime) -> list[MinuteKey]:
        return [minute.key for minute in await store.minutes("default", since=since, until=until)]

    assert await found(NOON + MINUTE, NOON + 3 * MINUTE) == keys[1:3]
    assert await found(NOON + MICROSECOND, NOON + 2 * MINUTE + MICROSECOND) == keys[1:3]


async def test_backlogs_of_a_minute_are_merged_and_unknown_values_replace_no_known_ones(store: HistoryStore) -> None:
    known = FlowMinute(flow="default", at=NOON, accepted=10, waiting=5, dead=1, oldest_s=2.5, spooled=0)
    other = FlowMinute(flow="other", at=NOON, waiting=1)
    later = FlowMinute(flow="default", at=NOON + MINUTE)
    await store.put_flow_minutes([later, known, other])
    await store.put_flow_minutes([FlowMinute(flow="default", at=NOON, accepted=12, waiting=0)])
    await store.put_flow_minutes([])
    merged = FlowMinute(flow="default", at=NOON, accepted=12, waiting=0, dead=1, oldest_s=2.5, spooled=0)
    assert await store.flow_minutes("default", since=NOON, until=NOON + HOUR) == [merged, later]
    assert await store.flow_minutes("default", since=NOON, until=NOON + MINUTE) == [merged]
    assert await store.flow_minutes("other", **WIDE) == [other]


# Gaps, writers, actions


async def test_gaps_are_found_if_they_touch_a_range(store: HistoryStore, recorder: Recorder) -> None:
    gap = Gap(writer="processor-1", flow="default", since=NOON, until=NOON + MINUTE, attempts=100, reason="buffer_full")
    other = Gap(writer="processor-1", flow="other", since=NOON, until=NOON, attempts=1, reason="refused")
    await recorder.record(gaps=[gap, other])

    async def found(since: timedelta, until: timedelta) -> list[Gap]:
        return await store.gaps("default", since=NOON + since, until=NOON + until)

    assert await found(-HOUR, HOUR) == [gap]
    assert await found(SECOND, 2 * SECOND) == [gap]
    assert await found(MINUTE, HOUR) == [gap]
    assert await found(-HOUR, MICROSECOND) == [gap]
    assert await found(MINUTE + MICROSECOND, HOUR) == []
    assert await found(-HOUR, timedelta()) == []


async def test_writers_show_who_ended_in_order(store: HistoryStore) -> None:
    ended, killed = Recorder(store, name="ended"), Recorder(store, name="killed")
    await ended.record()
    await store.end_writer("ended")
    await killed.record()
    await killed.record()
    latest, first = await store.writers()
    assert (latest.name, latest.batch, latest.ended_at) == ("killed", 2, None)
    assert latest.started_at < latest.seen_at
    assert (first.name, first.batch) == ("ended", 1)
    assert first.ended_at is not None
    assert first.started_at <= first.ended_at
    await ended.record()
    assert {writer.name: writer.ended_at for writer in await store.writers()} == {"ended": None, "killed": None}


async def test_actions_come_newest_first_of_one_flow_or_all(store: HistoryStore) -> None:
    actions = [
        Action(
            id=new_event_id(),
            at=NOON + number * SECOND,
            by="anna",
            flow=("default", "other")[number % 2],
            kind="rate",
            detail=f"{number}/s",
        )
        for number in range(6)
    ]
    for action in actions:
        await store.put_action(action)
    assert await store.actions() == actions[::-1]
    assert await store.actions(limit=2) == [actions[5], actions[4]]
    assert await store.actions(flow="other") == [actions[5], actions[3], actions[1]]


# Deleting


async def test_forgetting_an_event_deletes_all_its_attempts_and_no_other(
    store: HistoryStore, recorder: Recorder
) -> None:
    kept = attempt(event_id="order-2")
    await recorder.record(attempt(), attempt(flow="other"), kept, attempt(outcome="dead", reason="timeout"))
    assert await store.forget("order-1") == 3
    assert await store.forget("order-1") == 0
    assert await store.attempts_of("order-1") == []
    assert await store.attempts(AttemptFilter(flow="default")) == [kept]
    assert await store.attempts(AttemptFilter(flow="default", outcome=FAILURES)) == []


async def test_records_are_deleted_after_their_time_and_no_earlier(store: HistoryStore, recorder: Recorder) -> None:
    now = NOON + 100 * DAY
    old, young = now - 9 * DAY, now - 6 * DAY
    await recorder.record(
        *(attempt(event_id="old", started_at=old + number * SECOND) for number in range(1200)),
        attempt(event_id="young", started_at=young),
        attempt(flow="other", event_id="old", started_at=old),
        minutes=[counted(now - 91 * DAY), counted(now - 89 * DAY)],
        gaps=[gap_at(now - 91 * DAY), gap_at(now - 89 * DAY)],
    )
    await store.put_flow_minutes([FlowMinute(flow="default", at=now - age * DAY, waiting=1) for age in (91, 89)])
    for age in (91, 89):
        await store.put_action(action_at(now - age * DAY))
    await store.maintain(attempts=7 * DAY, minutes=90 * DAY, now=now)
    assert await store.attempts_of("old") == []
    assert len(await store.attempts_of("young")) == 1
    whole = {"since": now - 200 * DAY, "until": now}
    assert [minute.key for minute in await store.minutes("default", **whole)] == [counted(now - 89 * DAY).key]
    assert [minute.at for minute in await store.flow_minutes("default", **whole)] == [now - 89 * DAY]
    assert [gap.since for gap in await store.gaps("default", **whole)] == [now - 89 * DAY]
    assert [action.at for action in await store.actions()] == [now - 89 * DAY]
    assert [writer.name for writer in await store.writers()] == ["processor-1"]


def counted(moment: datetime) -> MinuteCount:
    key = MinuteKey(unix_microseconds(moment) // 60_000_000, "default", "delivered", "", 200, 3)
    return MinuteCount(key=key, attempts=1, duration_us=1)


def gap_at(moment: datetime) -> Gap:
    return Gap(writer="processor-1", flow="default", since=moment, until=moment, attempts=1, reason="refused")


def action_at(moment: datetime) -> Action:
    return Action(id=new_event_id(), at=moment, by="anna", flow="default", kind="pause")


# Values from outside


@pytest.mark.parametrize(
    "text",
    [
        "\0",
        "a\0b",
        "\udcff lone",
        "\ud83d\ude00 as a pair",
        "\U0001f600",
        "'; DROP TABLE attempts; --",
        "%_\\",
        "\u202e\u2028\x1b[31m",
        "é" * 2048,
    ],
    ids=ascii,
)
async def test_any_text_from_outside_is_kept_and_found(store: HistoryStore, recorder: Recorder, text: str) -> None:
    record = attempt(event_id=text[:120], type=text[:120], source=text, subject=text, text=text, answer_type=text)
    action = Action(id=new_event_id(), at=NOON, by=text, flow="default", kind="replay", detail=text)
    await recorder.record(record, minutes=minutes_of([record]))
    await store.put_action(action)
    [found] = await store.attempts_of(text[:120])
    assert found.id == record.id
    assert found.subject == "".join("\ufffd" if is_unstorable(character) else character for character in text)
    assert await store.attempts(AttemptFilter(flow="default", type=text[:120], **WIDE)) == [found]
    assert [action.detail for action in await store.actions()] == [found.subject]
    assert await store.forget(text[:120]) == 1


def is_unstorable(character: str) -> bool:
    return character == "\0" or "\ud800" <= character <= "\udfff"


async def test_the_longest_values_are_kept(store: HistoryStore, recorder: Recorder) -> None:
    record = attempt(
        event_id="\U0001f600" * 63,
        type="t" * 255,
        source="s" * 4096,
        subject="x" * 4096,
        outcome="dead",
        reason="client_error",
        answer=random.Random(1).randbytes(8192),
        answer_bytes=1 << 40,
        text="e" * 512,
        attempt=(1 << 31) - 1,
        duration_us=1 << 50,
    )
    await recorder.record(record)
    assert await store.attempts_of(record.event_id) == [record]
    assert await store.attempts(AttemptFilter(flow="default", outcome="dead", type="t" * 255)) == [record]


@pytest.mark.parametrize("year", [1, 1969, 9999])
async def test_times_of_senders_in_any_year_are_kept(store: HistoryStore, recorder: Recorder, year: int) -> None:
    moment = datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC)
    record = attempt(accepted_at=moment, next_at=moment)
    await recorder.record(record)
    assert await store.attempts_of("order-1") == [record]
    await store.put_flow_minutes([FlowMinute(flow="default", at=moment, waiting=1)])
    assert [minute.at for minute in await store.flow_minutes("default", since=moment, until=NOON + 1000 * DAY)] == (
        [moment] if year < 9999 else []
    )


async def test_attempts_on_both_sides_of_midnight_are_one_list(store: HistoryStore, recorder: Recorder) -> None:
    midnight = datetime(2026, 1, 3, tzinfo=UTC)
    records = [attempt(started_at=midnight + number * SECOND) for number in range(-3, 3)]
    await store.maintain(attempts=7 * DAY, minutes=90 * DAY, now=midnight - 5 * SECOND)
    await recorder.record(*records[:2])
    await recorder.record(*records[2:])
    assert await every(store, AttemptFilter(flow="default"), limit=2) == records[::-1]


# The schema


async def test_a_store_reports_its_schema_and_its_oldest_attempt(store: HistoryStore, recorder: Recorder) -> None:
    report = await store.check()
    assert report.version == report.expected_version > 0
    assert report.oldest is None
    assert report.problems == ()
    await recorder.record(attempt(started_at=NOON + SECOND), attempt(flow="other", started_at=NOON))
    report = await store.check()
    assert report.oldest == NOON
    assert report.size_bytes is not None
    assert report.size_bytes > 0


async def test_migrating_again_changes_nothing(store: HistoryStore, recorder: Recorder) -> None:
    await recorder.record(attempt())
    assert await store.migrate() == []
    assert len(await store.attempts_of("order-1")) == 1
