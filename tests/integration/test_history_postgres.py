"""The history in PostgreSQL: partitions, rights, roles and messages, which the store in SQLite does not have."""

import asyncio
import itertools
import re
import secrets
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from eventflow.errors import HistoryRefusedError, HistorySchemaError, HistoryUnavailableError
from eventflow.event import new_event_id
from eventflow.history.filters import FAILURES, AttemptFilter, Cursor
from eventflow.history.postgres.migrations import MIGRATIONS
from eventflow.history.postgres.reading import page_of
from eventflow.history.postgres.store import PostgresStore
from eventflow.history.records import Action, AttemptRecord, Batch, FlowMinute, Gap, MinuteCount, MinuteKey
from eventflow.postgres.connections import CONNECTIONS_MAX
from sandbox.ports import free_port
from tests.support.databases import execute, fetch
from tests.support.history import attempt
from tests.support.wait import eventually

WEEK = {"attempts": timedelta(days=7), "minutes": timedelta(days=90)}


@pytest.fixture
async def store(database):
    opened = PostgresStore(database, application="test")
    yield opened
    await opened.close()


async def days_in(database: str) -> list[str]:
    rows = await fetch(
        database,
        "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
        " WHERE inhparent = 'eventflow.attempts'::regclass ORDER BY relname",
    )
    return [row["relname"].removeprefix("attempts_") for row in rows]


def named(*days: date) -> list[str]:
    return [day.strftime("%Y%m%d") for day in days]


def failed_attempt(**fields) -> AttemptRecord:
    """Return a failed attempt of now, with some fields changed."""
    usual = {"started_at": datetime.now(UTC), "flow": "orders", "outcome": "retry", "reason": "status", "status": 503}
    return attempt(**usual | {"event_id": new_event_id()} | fields)


def batch(number: int, *attempts, **parts) -> Batch:
    return Batch(writer="p1", number=number, attempts=attempts, **parts)


async def test_a_batch_that_meets_missing_partitions_makes_them_and_is_written_whole(store, database):
    midnight = datetime.combine(datetime.now(UTC).date(), time(), UTC)
    before = failed_attempt(started_at=midnight - timedelta(microseconds=1))
    after = failed_attempt(started_at=midnight)
    await store.append(batch(1, before, after))
    assert await days_in(database) == named(before.started_at.date(), after.started_at.date())
    assert await store.attempts(AttemptFilter(flow="orders")) == [after, before]


async def test_writers_that_meet_the_same_missing_partition_all_write(database):
    stores = [PostgresStore(database) for _ in range(5)]
    await asyncio.gather(
        *(store.append(Batch(writer=f"p{n}", number=1, attempts=[failed_attempt()])) for n, store in enumerate(stores))
    )
    assert len(await stores[0].attempts(AttemptFilter(flow="orders"))) == 5
    for store in stores:
        await store.close()


async def test_an_attempt_older_than_attempts_are_kept_is_refused_and_makes_no_partition(store, database):
    now = datetime.now(UTC)
    await store.maintain(**WEEK, now=now)
    before = await days_in(database)
    for day in (now - timedelta(days=9), datetime(1970, 1, 1, tzinfo=UTC)):
        with pytest.raises(HistoryRefusedError, match="older than the retention"):
            await store.append(batch(1, failed_attempt(started_at=day)))
    await store.append(batch(1, failed_attempt(started_at=now - timedelta(days=5))))  # after a week without the store
    assert await store.last_batch("p1") == 1
    assert await days_in(database) == sorted([*before, *named((now - timedelta(days=5)).date())])


async def test_an_attempt_in_the_far_future_is_refused(store, database):
    with pytest.raises(HistoryRefusedError, match="not near the current time"):
        await store.append(batch(1, failed_attempt(started_at=datetime(2199, 1, 1, tzinfo=UTC))))
    assert await days_in(database) == []


async def test_keep_makes_the_next_days_and_drops_the_old_ones(store, database):
    now = datetime.now(UTC)
    old = failed_attempt(started_at=now - timedelta(days=9))
    await store.append(batch(1, old, failed_attempt(started_at=now - timedelta(days=10))))
    await store.maintain(**WEEK, now=now)
    assert await days_in(database) == named(*((now + timedelta(days=n)).date() for n in range(-1, 3)))
    assert await store.attempts_of(old.event_id) == []


@pytest.mark.timed
async def test_a_day_that_is_being_read_is_dropped_later_and_holds_up_no_writer(store, database):
    now = datetime.now(UTC)
    await store.append(batch(1, failed_attempt(started_at=now - timedelta(days=9)), failed_attempt()))
    reader = await asyncpg.connect(database)
    async with reader.transaction():
        await reader.fetch("SELECT 1 FROM eventflow.attempts")
        keeping = asyncio.create_task(store.maintain(**WEEK, now=now))
        number, slowest_s = 1, 0.0
        while not keeping.done():
            number += 1
            began_s = asyncio.get_running_loop().time()
            await store.append(batch(number, failed_attempt()))
            slowest_s = max(slowest_s, asyncio.get_running_loop().time() - began_s)
            await asyncio.sleep(0.02)
        await keeping
    await reader.close()
    assert slowest_s < 2.0  # it waits behind the lock for at most 0.2 s; the rest is for a busy machine
    assert named((now - timedelta(days=9)).date())[0] in await days_in(database)
    await store.maintain(**WEEK, now=now)
    assert named((now - timedelta(days=9)).date())[0] not in await days_in(database)


async def test_writers_with_common_minutes_in_any_order_do_not_deadlock(database):
    stores = [PostgresStore(database) for _ in range(4)]
    await stores[0].migrate()
    counts = [
        MinuteCount(key=MinuteKey(29_000_000 + n, "orders", "delivered", "", 200, 3), attempts=1, duration_us=5)
        for n in range(200)
    ]

    async def write(writer: int) -> None:
        ordered = counts[::-1] if writer % 2 else counts
        for number in range(1, 6):
            await stores[writer].append(Batch(writer=f"p{writer}", number=number, minutes=ordered))

    await asyncio.gather(*map(write, range(4)))
    since = datetime.fromtimestamp(29_000_000 * 60, UTC)
    found = await stores[0].minutes("orders", since=since, until=since + timedelta(minutes=200), step_minutes=200)
    assert sum(count.attempts for count in found) == 4 * 5 * 200
    for store in stores:
        await store.close()


async def test_processes_that_start_at_once_migrate_once(database):
    stores = [PostgresStore(database) for _ in range(6)]
    assert await asyncio.gather(*(store.last_batch("p1") for store in stores)) == [0] * 6
    assert await fetch(database, "SELECT version FROM eventflow.versions") == [(1,)]
    assert await stores[0].migrate() == []
    for store in stores:
        await store.close()


async def test_a_schema_of_a_later_version_is_used_by_no_method_and_named_by_check(store, database):
    await store.migrate()
    await execute(database, "INSERT INTO eventflow.versions (version, name) VALUES (99, '0099_later')")
    for call in (store.migrate(), store.last_batch("p1"), store.append(batch(1, failed_attempt()))):
        with pytest.raises(HistorySchemaError, match="version 99, later than"):
            await call
    report = await store.check()
    assert (report.version, report.expected_version) == (99, len(MIGRATIONS))
    assert "update Event Flow" in report.problems[0]


async def test_a_table_that_was_dropped_is_a_wrong_schema(store, database):
    await store.append(batch(1, failed_attempt()))
    await execute(database, "DROP TABLE eventflow.gaps")
    now = datetime.now(UTC)
    with pytest.raises(HistorySchemaError, match="eventflow history migrate"):
        await store.gaps("orders", since=now, until=now)


async def test_a_query_that_takes_too_long_is_ended_by_the_server(store, database, monkeypatch):
    await store.append(batch(1, failed_attempt()))
    locker = await asyncpg.connect(database)
    async with locker.transaction():
        await locker.execute("LOCK TABLE eventflow.attempts IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(HistoryUnavailableError, match="locked"):
            await store.attempts(AttemptFilter(flow="orders", outcome=FAILURES))
    await locker.close()
    assert len(await store.attempts(AttemptFilter(flow="orders", outcome=FAILURES))) == 1


async def test_queries_at_once_share_a_few_connections_that_bear_the_name_of_the_program(store, database):
    await store.migrate()
    now = datetime.now(UTC)
    await asyncio.gather(*(store.minutes("orders", since=now, until=now) for _ in range(30)))

    async def are_few() -> bool:
        rows = await fetch(database, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'test'")
        return 1 <= rows[0]["count"] <= CONNECTIONS_MAX

    await eventually(are_few, what="the connection of the migration to end")
    await store.close()

    async def are_gone() -> bool:
        return await fetch(database, "SELECT 1 FROM pg_stat_activity WHERE application_name = 'test'") == []

    await eventually(are_gone, what="the connections to end")
    with pytest.raises(HistoryUnavailableError, match="closed"):
        await store.last_batch("p1")


async def test_a_call_that_is_cancelled_leaves_nothing_behind(store, database):
    await store.migrate()
    locker = await asyncpg.connect(database)
    async with locker.transaction():
        await locker.execute("LOCK TABLE eventflow.writers IN ACCESS EXCLUSIVE MODE")
        call = asyncio.create_task(store.append(batch(1, failed_attempt())))
        await asyncio.sleep(0.2)
        call.cancel()
        await asyncio.wait([call])
    await locker.close()
    await store.append(batch(1, failed_attempt()))
    assert len(await store.attempts(AttemptFilter(flow="orders"))) == 1


@pytest.mark.parametrize("part", ["login", "password", "database", "port"])
async def test_no_message_has_the_password(database, part):
    url = urlsplit(database)
    password = "geheim" if part == "password" else url.password
    login = "nobody_here" if part == "login" else url.username
    port = free_port() if part == "port" else url.port
    name = "/nothing" if part == "database" else url.path
    store = PostgresStore(f"postgresql://{login}:{password}@{url.hostname}:{port}{name}")
    for call in (store.last_batch("p1"), store.check(), store.migrate()):
        with pytest.raises(HistoryUnavailableError) as caught:
            await call
        assert password not in str(caught.value)
        assert f"{url.hostname}:{port}{name}" in str(caught.value)
    await store.close()


@pytest.mark.parametrize("url", ["postgresql://me:geheim@h:port/d", "postgresql://me:geheim@[::1/d?sslmode=what"])
async def test_a_url_that_the_driver_does_not_understand_is_not_shown(url):
    store = PostgresStore(url)
    with pytest.raises(HistoryUnavailableError) as caught:
        await store.last_batch("p1")
    assert "geheim" not in str(caught.value)


DAY = {"since": datetime(2026, 1, 1, tzinfo=UTC), "until": datetime(2026, 1, 2, tzinfo=UTC)}


PAGES: list[tuple[dict[str, Any], str]] = [
    ({}, "flow_started_at_id"),
    ({"outcome": FAILURES}, "flow_started_at_id"),
    ({"outcome": "dead"}, "flow_outcome_started_at_id"),
    ({"outcome": FAILURES, "reason": "timeout"}, "flow_reason_started_at_id"),
    ({"outcome": FAILURES, "status": 418}, "flow_status_started_at_id"),
    ({"outcome": FAILURES, "type": "rare"}, "flow_type_started_at_id"),
    ({"type": "rare", **DAY}, "flow_type_started_at_id"),
    ({"status": 418, **DAY}, "flow_status_started_at_id"),
    ({"reason": "timeout", **DAY}, "flow_reason_started_at_id"),
    ({"outcome": "delivered", **DAY}, "flow_started_at_id"),
]
"""Selections, and a part of the name of the index for each."""


async def test_each_page_of_attempts_has_an_index_with_its_conditions_in_its_order(store, database):
    rare = {"outcome": "dead", "reason": "timeout", "status": 418, "type": "rare"}
    for number in range(1, 9):
        hour = DAY["since"] + timedelta(hours=number * 5)  # on two days
        usual = [failed_attempt(started_at=hour + timedelta(seconds=n)) for n in range(500)]
        await store.append(batch(number, failed_attempt(started_at=hour, **rare), *usual))
    connection = await asyncpg.connect(database)
    await connection.execute("ANALYZE eventflow.attempts")
    # A small table is read as a whole and sorted. Without these ways, the plan shows whether there is another one.
    for way in ("seqscan", "bitmapscan", "sort"):
        await connection.execute(f"SET enable_{way} = off")
    for (conditions, index), after in itertools.product(PAGES, (None, Cursor(DAY["until"], new_event_id()))):
        query, arguments = page_of(AttemptFilter(flow="orders", **conditions), after, 50)
        plan = "\n".join(line for (line,) in await connection.fetch(f"EXPLAIN {query}", *arguments))
        assert index in plan, plan
        assert "Seq Scan" not in plan, plan
        assert "Sort" not in plan, plan
    await connection.close()


async def test_a_page_does_not_look_into_days_after_its_cursor(store, database):
    await store.append(batch(1, *(failed_attempt(started_at=day) for day in DAY.values())))
    query, arguments = page_of(AttemptFilter(flow="orders"), Cursor(DAY["since"], new_event_id()), 50)
    plan = "\n".join(line for (line,) in await fetch(database, f"EXPLAIN {query}", *arguments))
    assert "attempts_20260101" in plan
    assert "attempts_20260102" not in plan


async def test_the_documented_rights_are_enough_for_each_role_and_for_no_more(store, database):
    await store.migrate()
    document = (Path(__file__).parents[2] / "docs" / "history-postgresql.md").read_text(encoding="utf-8")
    (grants,) = re.findall(r"```sql\n(.*?)```", document, re.DOTALL)
    stores = {}
    suffix, password = secrets.token_hex(4), secrets.token_hex(8)
    for role in ("writer", "reader", "operator"):
        name = f"eventflow_{role}_{suffix}"
        grants = grants.replace(f"eventflow_{role}", name)
        await execute(database, f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
        url = urlsplit(database)._replace(netloc=f"{name}:{password}@{urlsplit(database).netloc.rpartition('@')[2]}")
        stores[role] = PostgresStore(url.geturl())
    try:
        await execute(database, grants)
        await use_as_writer(stores["writer"])
        await use_as_operator(stores["operator"])
        assert len(await stores["reader"].attempts(AttemptFilter(flow="orders"))) == 1
        for forbidden in (
            stores["reader"].append(batch(9, failed_attempt())),
            stores["reader"].forget("x"),
            stores["operator"].append(batch(9, failed_attempt())),
            stores["writer"].forget("x"),
            stores["writer"].put_action(an_action()),
        ):
            with pytest.raises(HistoryUnavailableError, match="permission denied"):
                await forbidden
        assert (await stores["writer"].check()).problems == ()
        assert "INSERT on attempts" in (await stores["reader"].check()).problems[0]
    finally:
        for opened in stores.values():
            await opened.close()
        for role in ("writer", "reader", "operator"):
            await execute(database, f"DROP OWNED BY eventflow_{role}_{suffix}")
            await execute(database, f"DROP ROLE eventflow_{role}_{suffix}")


async def use_as_writer(store: PostgresStore) -> None:
    """Do everything that a processor does."""
    now = datetime.now(UTC)
    assert await store.last_batch("p1") == 0
    await store.maintain(**WEEK, now=now)
    count = MinuteCount(key=MinuteKey(29_000_000, "orders", "retry", "", 503, 3), attempts=1, duration_us=5)
    gap = Gap(writer="p1", flow="orders", since=now, until=now, attempts=1, reason="refused")
    old = failed_attempt(started_at=now - timedelta(days=6))
    await store.append(batch(1, failed_attempt(), old, minutes=[count], gaps=[gap]))
    await store.maintain(attempts=timedelta(days=1), minutes=timedelta(days=90), now=now)
    await store.end_writer("p1")


async def use_as_operator(store: PostgresStore) -> None:
    """Do everything that a console and the commands do."""
    now = datetime.now(UTC)
    (found,) = await store.attempts(AttemptFilter(flow="orders"))
    assert await store.attempts_of(found.event_id) == [found]
    for read in (store.minutes, store.flow_minutes, store.gaps):
        await read("orders", since=now - timedelta(hours=1), until=now)
    for _ in range(2):
        await store.put_flow_minutes([FlowMinute(flow="orders", at=now, waiting=3)])
    await store.put_action(an_action())
    assert len(await store.actions()) == len(await store.writers()) == 1
    assert await store.forget("nothing") == 0


def an_action() -> Action:
    return Action(id=new_event_id(), at=datetime.now(UTC), by="ada", flow="orders", kind="pause")


async def test_a_role_without_any_right_learns_the_command_to_run(store, database):
    name, password = f"eventflow_{secrets.token_hex(4)}", secrets.token_hex(8)
    await execute(database, f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
    url = urlsplit(database)._replace(netloc=f"{name}:{password}@{urlsplit(database).netloc.rpartition('@')[2]}")
    guest = PostgresStore(url.geturl())
    try:
        with pytest.raises(HistorySchemaError, match="is missing: run `eventflow history migrate`"):
            await guest.last_batch("p1")
        await store.migrate()
        with pytest.raises(HistorySchemaError, match="permission denied"):
            await guest.last_batch("p1")
        assert "permission denied" in (await guest.check()).problems[0]
    finally:
        await guest.close()
        await execute(database, f"DROP ROLE {name}")


async def test_ranges_of_all_times_are_accepted(store):
    ends = {"since": datetime.min.replace(tzinfo=UTC), "until": datetime.max.replace(tzinfo=UTC)}
    await store.append(batch(1, failed_attempt()))
    for read in (store.minutes, store.flow_minutes, store.gaps):
        assert await read("orders", **ends) == []
    assert len(await store.attempts(AttemptFilter(flow="orders", **ends))) == 1
