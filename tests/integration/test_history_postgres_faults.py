"""The history in PostgreSQL while the server or the way to it fails: each attempt is on record once."""

import asyncio
import itertools
import os
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from eventflow.errors import HistoryLateError, HistoryUnavailableError
from eventflow.event import new_event_id
from eventflow.history.filters import AttemptFilter
from eventflow.history.postgres import store as store_module
from eventflow.history.postgres import writing
from eventflow.history.postgres.store import PostgresStore
from eventflow.history.records import Batch, MinuteCount, MinuteKey
from eventflow.postgres import connections
from sandbox.database.server import PrivateServer
from tests.support.certificates import Authority
from tests.support.databases import empty_database, execute, fetch
from tests.support.history import attempt
from tests.support.pgbouncer import running_pgbouncer
from tests.support.postgres_proxy import Loss, PostgresProxy
from tests.support.wait import eventually

ROWS = 50


@pytest.fixture
async def own_database(database_server: PrivateServer) -> AsyncIterator[str]:
    """The URL of an empty database on a server that may be killed."""
    if not database_server.alive:
        database_server.start()
    async with empty_database(database_server.url) as url:
        yield url
        database_server.resume()
        if not database_server.alive:
            database_server.start()


@pytest.fixture
async def store(own_database: str) -> AsyncIterator[PostgresStore]:
    opened = PostgresStore(own_database)
    yield opened
    await opened.close()


@pytest.fixture
async def proxy(own_database: str) -> AsyncIterator[PostgresProxy]:
    async with PostgresProxy(own_database) as opened:
        yield opened


@pytest.fixture
def small_disk(database_server: PrivateServer) -> Iterator[Path]:
    """A file system with room for one small database."""
    owner = database_server.directory.stat()
    place = database_server.directory.parent / "small-disk"
    place.mkdir()
    options = f"size=24m,mode=700,uid={owner.st_uid},gid={owner.st_gid}"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "small", place], capture_output=True, check=False)
    if mounted.returncode != 0:
        place.rmdir()
        pytest.skip("this user cannot mount a small file system")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)
    place.rmdir()


def batch_of(number: int, *, answer: bytes | None = None) -> Batch:
    now = datetime.now(UTC)
    attempts = [
        attempt(event_id=new_event_id(), flow="orders", started_at=now, writer="p1", answer=answer) for _ in range(ROWS)
    ]
    minute = int(now.timestamp()) // 60
    count = MinuteCount(key=MinuteKey(minute, "orders", "delivered", "", 200, 3), attempts=ROWS, duration_us=ROWS)
    return Batch(writer="p1", number=number, attempts=attempts, minutes=[count])


async def write(store: PostgresStore, batch: Batch) -> int:
    """Write a batch as a processor does, until it is on record; return the number of failed calls."""
    for failures in itertools.count():
        try:
            if failures and await store.last_batch(batch.writer) >= batch.number:
                return failures
            await store.append(batch)
        except HistoryUnavailableError:
            await asyncio.sleep(0.02)
        else:
            return failures
    raise AssertionError


async def fill(store: PostgresStore) -> tuple[list[Batch], HistoryUnavailableError]:
    """Write batches until the store has no room; return those that are written, and the error."""
    written: list[Batch] = []
    while True:
        batch = batch_of(len(written) + 1, answer=os.urandom(2000))
        try:
            await store.append(batch)
        except HistoryUnavailableError as error:
            return written, error
        written.append(batch)


async def assert_on_record_once(database: str, batches: Sequence[Batch]) -> None:
    rows = await fetch(database, "SELECT id::text FROM eventflow.attempts")
    assert sorted(row["id"] for row in rows) == sorted(record.id for batch in batches for record in batch.attempts)
    (counted,) = await fetch(database, "SELECT sum(attempts)::int AS attempts FROM eventflow.minutes")
    assert counted["attempts"] == len(rows)


async def test_a_server_that_is_killed_under_load_has_each_attempt_once_after_its_restarts(
    store, own_database, database_server
):
    batches = [batch_of(number) for number in range(1, 200)]
    written = failures = 0

    async def kill_and_start() -> None:
        for some in range(30, len(batches), 30):
            await eventually(lambda some=some: written >= some, within_s=60, what="more batches")
            await asyncio.to_thread(database_server.kill)
            await asyncio.to_thread(database_server.start)

    killing = asyncio.create_task(kill_and_start())
    for batch in batches:
        failures += await write(store, batch)
        written += 1
        await asyncio.sleep(0.005)
    await killing
    assert failures >= 2
    await assert_on_record_once(own_database, batches)


@pytest.mark.parametrize("loss", [Loss.REQUEST, Loss.ANSWER, Loss.RACE])
async def test_a_batch_whose_commit_is_lost_is_on_record_once(own_database, proxy, loss):
    store = PostgresStore(proxy.url)
    await store.migrate()
    await store.append(batch_of(1))
    batches = [batch_of(number) for number in range(2, 30)]
    for batch in batches:
        proxy.losses = [loss]
        assert await write(store, batch) == 1
    await store.close()
    rows = await fetch(own_database, "SELECT id::text FROM eventflow.attempts")
    assert len(rows) == len({row["id"] for row in rows}) == ROWS * 29
    assert await fetch(own_database, "SELECT batch FROM eventflow.writers") == [(29,)]


async def test_a_batch_that_is_repeated_while_its_first_transaction_still_ends_waits_for_it(store, own_database):
    await store.append(batch_of(1))
    batch = batch_of(2)
    first = await asyncpg.connect(own_database)
    transaction = first.transaction()
    await transaction.start()
    await writing.append(first, batch)
    assert await store.last_batch("p1") == 1
    repeated = asyncio.create_task(store.append(batch))
    await asyncio.sleep(0.3)
    assert not repeated.done()
    await transaction.commit()
    await repeated
    await first.close()
    rows = await fetch(own_database, "SELECT id FROM eventflow.attempts")
    assert len(rows) == 2 * ROWS


@pytest.mark.timed
async def test_a_frozen_server_holds_a_call_for_a_bounded_time(store, database_server, monkeypatch):
    await store.append(batch_of(1))
    monkeypatch.setattr(store_module, "READING", replace(store_module.READING, total_s=0.5))
    monkeypatch.setattr(store_module, "WRITING", replace(store_module.WRITING, total_s=0.5))
    database_server.pause()
    calls = [store.append(batch_of(2)), store.attempts(AttemptFilter(flow="orders")), store.last_batch("p1")]
    began_s = asyncio.get_running_loop().time()
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(outcome, HistoryUnavailableError)
    assert asyncio.get_running_loop().time() - began_s < 4
    await asyncio.wait_for(store.close(), 2)
    database_server.resume()


@pytest.mark.timed
async def test_a_store_that_is_away_answers_at_once_and_is_used_again_when_it_is_back(store, database_server):
    await store.append(batch_of(1))
    database_server.stop()
    for _ in range(3):
        began_s = asyncio.get_running_loop().time()
        with pytest.raises(HistoryUnavailableError):
            await store.append(batch_of(2))
        assert asyncio.get_running_loop().time() - began_s < 2
    database_server.start()
    await store.append(batch_of(2))
    assert await store.last_batch("p1") == 2


async def test_a_connection_that_an_administrator_ends_is_replaced(store, own_database):
    await store.append(batch_of(1))
    await execute(
        own_database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'eventflow'"
    )
    assert await write(store, batch_of(2)) <= 1
    assert await store.last_batch("p1") == 2


async def test_a_connection_that_was_idle_for_long_is_not_used_again(store, own_database, monkeypatch):
    await store.append(batch_of(1))
    monkeypatch.setattr(connections, "IDLE_MAX_S", 0.0)
    pids = "SELECT pid FROM pg_stat_activity WHERE application_name = 'eventflow'"
    before = await fetch(own_database, pids)
    await store.append(batch_of(2))
    assert before != await fetch(own_database, pids)


async def test_a_slow_server_gets_every_batch(own_database, proxy):
    store = PostgresStore(proxy.url)
    proxy.delay_s = 0.03
    batches = [batch_of(number) for number in range(1, 4)]
    for batch in batches:
        assert await write(store, batch) == 0
    await store.close()
    await assert_on_record_once(own_database, batches)


async def test_a_query_that_takes_too_long_is_late_and_not_away(store, own_database, monkeypatch):
    for number in range(1, 40):
        await store.append(batch_of(number))
    monkeypatch.setattr(store_module, "READING", replace(store_module.READING, statement_s=0.001))
    with pytest.raises(HistoryLateError):
        await store.attempts(AttemptFilter(flow="orders"), limit=2000)


async def test_a_full_disk_refuses_a_batch_as_a_whole_until_there_is_room(database_server, small_disk):
    await execute(database_server.url, f"CREATE TABLESPACE small LOCATION '{small_disk}'")
    try:
        async with empty_database(database_server.url, "TABLESPACE small") as url:
            store = PostgresStore(url)
            written, refusal = await fill(store)
            assert "No space left" in str(refusal)
            assert await store.last_batch("p1") == len(written)
            subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)  # noqa: ASYNC221 - takes no time
            written.append(batch_of(len(written) + 1))
            await store.append(written[-1])
            await assert_on_record_once(url, written)
            await store.close()
    finally:
        await execute(database_server.url, "DROP TABLESPACE small")


async def test_behind_pgbouncer_in_transaction_mode_several_stores_share_two_connections(own_database):
    with running_pgbouncer(own_database, pool_size=2) as url:
        stores = [PostgresStore(url, application=f"p{n}") for n in range(5)]
        batches = [replace(batch_of(number), writer=f"p{n}") for n in range(5) for number in range(1, 6)]

        async def use(n: int) -> None:
            for batch in batches[n * 5 : n * 5 + 5]:
                await stores[n].append(batch)
                await stores[n].attempts(AttemptFilter(flow="orders"))
            await stores[n].maintain(attempts=timedelta(days=7), minutes=timedelta(days=90), now=datetime.now(UTC))

        await asyncio.gather(*map(use, range(5)))
        for store in stores:
            await store.close()
    await assert_on_record_once(own_database, batches)


async def test_sslmode_in_the_url_selects_tls_and_the_authority_that_is_trusted(database_server, tmp_path):
    authority = Authority(tmp_path)
    pem = database_server.directory / "server.pem"
    pem.write_bytes(authority.issue("IP:127.0.0.1").read_bytes())
    pem.chmod(0o600)
    owner = database_server.directory.stat()
    os.chown(pem, owner.st_uid, owner.st_gid)
    strict = f"{database_server.url}?sslmode=verify-full&sslrootcert="
    for name, value in {"ssl_cert_file": pem, "ssl_key_file": pem, "ssl": "on"}.items():
        await execute(database_server.url, f"ALTER SYSTEM SET {name} = '{value}'")
    await execute(database_server.url, "SELECT pg_reload_conf()")
    try:
        trusting = PostgresStore(f"{strict}{authority.certificate}")
        await eventually(lambda: answers(trusting), what="the server to speak TLS")
        await trusting.close()
        other = tmp_path / "other"
        other.mkdir()
        distrusting = PostgresStore(f"{strict}{Authority(other).certificate}")
        with pytest.raises(HistoryUnavailableError, match="certificate verify failed"):
            await distrusting.check()
    finally:
        await execute(database_server.url, "ALTER SYSTEM RESET ALL")
        await execute(database_server.url, "SELECT pg_reload_conf()")
    plain = PostgresStore(f"{database_server.url}?sslmode=require")
    await eventually(lambda: refuses(plain), what="a server without TLS to be refused")


async def answers(store: PostgresStore) -> bool:
    try:
        return (await store.check()).kind == "postgresql"
    except HistoryUnavailableError:
        return False


async def refuses(store: PostgresStore) -> bool:
    return not await answers(store)
