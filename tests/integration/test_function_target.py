"""Functions as targets, on every driver, with a real PostgreSQL."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from eventflow.database.schema import DATABASE
from eventflow.errors import BrokerUnavailableError, MessageTooLargeError
from eventflow.handling.transactions import statements
from eventflow.network.failure import NO_DATABASE
from eventflow.telemetry.metrics import count_of
from eventflow_processor.target.feedback import Feedback
from eventflow_processor.target.function import upkeep
from eventflow_processor.target.result import Failed, Order, Succeeded
from tests.support import handlers
from tests.support.databases import execute, fetch
from tests.support.functions import ASYNC_KINDS, KINDS, THREAD_KINDS, Functions, functions, opened
from tests.support.handlers import RELEASED
from tests.support.pgbouncer import running_pgbouncer
from tests.support.wait import eventually

DONE = Succeeded()
DUPLICATE = Succeeded(reason="duplicate")


@pytest.fixture
async def migrated(database: str) -> str:
    connection = await asyncpg.connect(database)
    await DATABASE.require(connection)
    await connection.close()
    return database


@pytest.fixture(params=KINDS)
async def here(request: pytest.FixtureRequest, migrated: str) -> AsyncIterator[Functions]:
    """A function on each driver."""
    async with functions(request.param, migrated, timeout_s=5) as here:
        yield here


@pytest.fixture(params=KINDS)
async def hasty(request: pytest.FixtureRequest, migrated: str) -> AsyncIterator[Functions]:
    """A function on each driver, with a short deadline and one call at a time."""
    async with functions(request.param, migrated, timeout_s=2, concurrency=1) as here:
        yield here


def raised(text: str) -> Failed:
    return Failed(reason="handler_raised", text=text)


async def test_an_event_takes_effect_once(here: Functions) -> None:
    assert await here.result("a", emit=2) == DONE
    assert await here.result("a", emit=2) == DUPLICATE
    assert await here.result("b") == DONE
    assert (await here.effects(), await here.inbox()) == (["a", "b"], ["a", "b"])
    assert await here.outbox() == ["a/0", "a/1"]
    assert here.skipped == 1


@pytest.mark.parametrize("kind", ["asyncpg", "psycopg"])
async def test_behind_pgbouncer_in_transaction_mode_each_event_takes_effect_once(migrated: str, kind: str) -> None:
    """Two calls share a connection of the server, and the next call of a client gets another one."""
    with running_pgbouncer(migrated, pool_size=2) as url:
        async with functions(kind, url, timeout_s=5, concurrency=4) as here:
            ids = [str(number) for number in range(40)]
            results = await asyncio.gather(*(here.result(each, emit=1) for each in (*ids, *ids)))
            assert [results.count(DONE), results.count(DUPLICATE)] == [40, 40]
    effects = [row["event_id"] for row in await fetch(migrated, "SELECT event_id FROM effects")]
    assert sorted(effects) == sorted(ids)
    assert len(await fetch(migrated, "SELECT id FROM eventflow.outbox")) == 40


async def test_the_outbox_gets_every_attribute_of_a_derived_event(here: Functions) -> None:
    assert await here.result("a", emit=1) == DONE
    assert here.database is not None
    [row] = await fetch(here.database, "SELECT *, now() - time < '1 minute' AS is_now FROM eventflow.outbox")
    assert (row["flow"], row["source"], row["type"]) == ("orders_out", "/tests", "test.derived")
    assert (row["body"], row["content_type"], row["is_now"]) == (b'{"number":0}', "application/json", True)


async def test_an_exception_rolls_everything_back_and_is_told(here: Functions) -> None:
    result = await here.result("a", **{"raise": "no such order\nmore"})
    assert isinstance(result, Failed)
    assert (result, result.text) == (raised(""), "ValueError: no such order")
    assert await here.effects() == await here.inbox() == []
    assert await here.result("a") == DONE


async def test_reject_gives_up_and_retry_later_defers(here: Functions) -> None:
    result = await here.result("a", reject="no such customer")
    assert isinstance(result, Failed)
    assert (result.reason, result.order, result.text) == ("handler_rejected", Order.GIVE_UP, "no such customer")
    assert await here.result("a", later_s=90) == Failed(
        reason="handler_deferred", order=Order.RETRY_LATER, feedback=Feedback(retry_after_s=90)
    )
    assert await here.effects() == await here.inbox() == []


async def test_the_server_keeps_the_limits(here: Functions) -> None:
    columns = ", ".join(
        f"current_setting('{name}') AS {name}"
        for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    )
    assert await here.result("a", sql=[f"CREATE TABLE limits AS SELECT {columns}"]) == DONE
    assert here.database is not None
    [row] = await fetch(here.database, "SELECT * FROM limits")
    assert list(row.values()) == ["5s", "2500ms", "15s"]


async def test_a_statement_that_fails_concerns_its_event_alone(here: Functions) -> None:
    result = await here.result("a", sql=["SELECT 1/0"])
    assert isinstance(result, Failed)
    assert result == raised("")
    assert result.text is not None
    assert "division by zero" in result.text


@pytest.mark.parametrize("sql", ["COMMIT", "ROLLBACK"])
async def test_a_function_that_ends_the_transaction_itself_is_told_so(here: Functions, sql: str) -> None:
    result = await here.result("a", sql=[sql])
    assert isinstance(result, Failed)
    assert (result.reason, result.order) == ("handler_raised", Order.GIVE_UP)
    assert result.text is not None
    assert result.text.startswith("the function has ended the transaction itself")
    assert await here.result("b") == DONE, "its connection is not used in a wrong state"
    assert await here.inbox() == (["a", "b"] if sql == "COMMIT" else ["b"])


async def test_two_calls_with_the_same_event_take_effect_once(here: Functions) -> None:
    first, _ = here.start("a", sleep_s=0.3)
    second, _ = here.start("a")
    results = [await first, await second]
    assert {result == DONE for result in results} == {True, False}
    assert DUPLICATE in results
    assert await here.effects() == ["a"]


async def test_in_a_database_that_isolates_transactions_strictly_a_duplicate_is_no_outage(here: Functions) -> None:
    assert here.database is not None
    name = here.database.rpartition("/")[2]
    await execute(here.database, f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'")
    results = await asyncio.gather(here.result("a", sleep_s=2), here.result("a", sleep_s=2))
    assert sorted(result.reason or "" for result in results) == ["", "handler_deferred"]
    assert await here.result("a") == DUPLICATE
    assert await here.effects() == ["a"]


async def test_an_event_whose_copy_another_processor_holds_waits_uncounted(hasty: Functions) -> None:
    assert hasty.database is not None
    other = await asyncpg.connect(hasty.database)
    async with other.transaction():
        await other.execute("INSERT INTO eventflow.inbox VALUES ('orders', '/tests', 'a')")
        result = await hasty.result("a")
    await other.close()
    assert isinstance(result, Failed)
    assert (result.reason, result.order) == ("handler_deferred", Order.RETRY_LATER)
    assert await hasty.result("a") == DUPLICATE


async def test_a_database_that_is_away_is_an_outage(here: Functions) -> None:
    assert await here.result("a") == DONE
    assert here.database is not None
    name = here.database.rpartition("/")[2]
    server = here.database.replace(name, "postgres")
    await execute(server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    await execute(server, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    for _ in range(2):
        result = await here.result("b")
        assert result == Failed(reason="connection", detail=NO_DATABASE, reached=False, answered=False)
    await execute(server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    assert await here.result("b") == DONE


async def test_a_connection_that_dies_in_the_function_is_an_outage(here: Functions) -> None:
    result = await here.result("a", sql=["SELECT pg_terminate_backend(pg_backend_pid())"])
    assert result == Failed(reason="connection", detail=NO_DATABASE, reached=False, answered=False)
    assert await here.result("a") == DONE


async def test_a_constraint_that_is_checked_at_the_commit_concerns_its_event_alone(here: Functions) -> None:
    assert here.database is not None
    await execute(here.database, "CREATE TABLE parents (id int PRIMARY KEY)")
    await execute(here.database, "CREATE TABLE children (id int REFERENCES parents DEFERRABLE INITIALLY DEFERRED)")
    result = await here.result("a", sql=["INSERT INTO children VALUES (7)"])
    assert isinstance(result, Failed)
    assert result == raised("")
    assert await here.inbox() == []
    assert await here.result("b") == DONE


async def test_a_commit_of_a_transaction_that_an_error_has_aborted_is_no_success(here: Functions) -> None:
    """PostgreSQL answers such a COMMIT by ROLLBACK, without an error."""
    for orders in ({}, {"emit": 1}):
        result = await here.result("a", swallow="SELECT 1/0", **orders)
        assert isinstance(result, Failed)
        assert result == raised("")
        assert result.text is not None
        assert "savepoint" in result.text
    assert await here.effects() == await here.inbox() == []
    assert await here.result("b") == DONE


@pytest.mark.parametrize("kind", ["async_session", "session"])
async def test_a_session_that_commits_each_statement_is_refused(
    kind: str, migrated: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "ENGINE_OPTIONS", {"isolation_level": "AUTOCOMMIT"})
    async with functions(kind, migrated, timeout_s=5) as here:
        result = await here.result("a")
        assert result == Failed(reason="connection", detail=NO_DATABASE, reached=False, answered=False)
        assert isinstance(result, Failed)
        assert result.text is not None
        assert "AUTOCOMMIT" in result.text
        assert await here.inbox() == []


async def test_a_session_that_its_factory_returns_again_works_after_a_failure(migrated: str) -> None:
    session = "tests.support.handlers:scoped_sessions"
    async with functions("session", migrated, session=session, timeout_s=5, concurrency=1) as here:
        assert await here.result("a", **{"raise": "no such order"}) == raised("")
        assert await here.result("a", emit=1) == DONE
        result = await here.result("b", commit=True)
        assert isinstance(result, Failed)
        assert result.reason == "handler_raised"
        assert (await here.effects(), await here.outbox()) == (["a"], ["a/0"])


async def test_a_commit_of_the_function_is_an_error(here: Functions) -> None:
    if "asyncpg" in here.kind:
        return  # its connection has no such method
    result = await here.result("a", commit=True)
    assert isinstance(result, Failed)
    assert result == raised("")
    assert result.text is not None
    assert "commit" in result.text
    assert await here.inbox() == await here.effects() == []


async def test_a_savepoint_of_the_function_saves_its_transaction(here: Functions) -> None:
    assert await here.result("a", savepoint="SELECT 1/0") == DONE
    assert await here.effects() == await here.inbox() == ["a"]


async def test_the_deadline_counts_and_rolls_back(hasty: Functions) -> None:
    result = await hasty.result("a", sleep_s=3)
    assert result == Failed(reason="timeout")
    await eventually(lambda: hasty.overrun == 0, what="the end of the call")
    assert await hasty.effects() == await hasty.inbox() == []
    assert await hasty.result("a") == DONE


async def test_an_abandoned_call_has_no_result_and_no_effect(here: Functions) -> None:
    ended, attempt = here.start("a", sleep_s=0.5)
    await asyncio.sleep(0)
    attempt.abandon()
    assert await here.result("b", sleep_s=1) == DONE
    assert not ended.done()
    assert await here.inbox() == ["b"]


async def test_without_a_database_the_events_are_confirmed_first() -> None:
    for kind in ("without_database", "on_thread"):
        async with opened(kind, None, timeout_s=5) as here:
            assert await here.result("a", emit=2) == DONE
            assert [each.event.id for each in here.published] == ["a/0", "a/1"]
            here.publish_error = BrokerUnavailableError("no connection to the broker")
            assert await here.result("a") == DONE
            result = await here.result("a", emit=1)
            assert isinstance(result, Failed)
            assert (result.reason, result.order) == ("handler_deferred", Order.RETRY_LATER)
            here.publish_error = MessageTooLargeError(body_bytes=2, max_bytes=1)
            assert await here.result("a", emit=1) == raised("")


async def test_a_result_that_is_no_event_is_refused_with_advice() -> None:
    for kind in ("without_database", "on_thread"):
        async with opened(kind, None, timeout_s=5) as here:
            for returned, words in (({"a": 1}, "not dict"), ([1], "not a list with int"), ("x", "not str")):
                result = await here.result("a", returns=returned)
                assert isinstance(result, Failed)
                assert result == raised("")
                assert result.text is not None
                assert words in result.text


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Ends the calls that are held."""
    RELEASED.clear()
    yield RELEASED
    RELEASED.set()


@pytest.mark.parametrize("kind", ASYNC_KINDS)
async def test_an_async_function_that_catches_its_cancellation_cannot_commit(
    kind: str, migrated: str, released: threading.Event
) -> None:
    async with functions(kind, migrated, timeout_s=2, concurrency=2) as here:
        assert await here.result("a") == DONE
        assert await here.result("stubborn", held=True) == Failed(reason="timeout")
        assert here.overrun == 1
        assert await here.result("b") == DONE
        released.set()
        await eventually(lambda: here.overrun == 0, what="the end of the call")
        assert await here.inbox() == ["a", "b"]


@pytest.mark.parametrize("kind", THREAD_KINDS)
async def test_a_thread_that_overruns_keeps_its_slot_and_cannot_commit(
    kind: str, migrated: str, released: threading.Event
) -> None:
    async with functions(kind, migrated, timeout_s=2, concurrency=2) as here:
        assert await here.result("a") == DONE
        assert await here.result("slow", held=True) == Failed(reason="timeout")
        assert here.overrun == 1
        assert await here.result("b") == DONE
        assert await here.result("slower", held=True) == Failed(reason="timeout")
        result = await here.result("c")
        assert result == Failed(reason="timeout", reached=False, answered=False)
        assert isinstance(result, Failed)
        assert result.text is not None
        assert "no thread was free" in result.text
        released.set()
        await eventually(lambda: here.overrun == 0, what="the end of the calls")
        assert await here.inbox() == ["a", "b"]
        assert await here.result("c") == DONE


async def test_a_function_that_blocks_the_loop_is_named(migrated: str) -> None:
    async with functions("asyncpg", migrated, timeout_s=20) as here:
        assert await here.result("a") == DONE
        assert await here.result("blocking", block_s=2.5) == DONE
        [line] = [line for line in here.logs if line["event"] == "handler.blocked_loop"]
        assert (line["flow"], line["event_id"]) == ("orders", "blocking")
        assert line["at"].partition(":")[0].endswith("tests/support/handlers.py")
        assert "sleep" in line["code"]
        assert count_of(here.metrics.loop_blocked) == 1


async def test_old_entries_of_the_flow_are_deleted_from_the_inbox_by_one_process_at_a_time(
    here: Functions, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await here.result("new") == DONE
    assert here.database is not None
    await execute(
        here.database,
        "INSERT INTO eventflow.inbox SELECT flow, '/tests', 'old ' || number, now() - interval '15 days' "
        "FROM generate_series(1, 12) AS number, unnest(ARRAY['orders', 'other']) AS flow",
    )
    monkeypatch.setattr(statements, "CLEAN_ROWS", 5)
    monkeypatch.setattr(upkeep, "CLEAN_ROWS", 5)
    database = here.target.database
    assert database is not None
    other = await asyncpg.connect(here.database)
    async with other.transaction():
        await other.execute("SELECT pg_advisory_xact_lock(hashtext('eventflow.inbox'))")
        assert await upkeep.clean(database, flow="orders", days=14) == 0
    await other.close()
    assert await upkeep.clean(database, flow="orders", days=16) == 0
    assert await upkeep.clean(database, flow="orders", days=14) == 12
    rows = await fetch(here.database, "SELECT flow, count(*) FROM eventflow.inbox GROUP BY 1 ORDER BY 1")
    assert [tuple(row) for row in rows] == [("orders", 1), ("other", 12)]


async def test_a_database_without_the_tables_is_migrated_or_named(database: str) -> None:
    async with functions("asyncpg", database, timeout_s=5) as here:
        assert await here.result("a") == DONE
    await execute(database, "DROP SCHEMA eventflow CASCADE")
    async with opened("async_session", database, timeout_s=5) as here:
        result = await here.result("b")
        assert result == Failed(reason="connection", detail=NO_DATABASE, reached=False, answered=False)
        assert isinstance(result, Failed)
        assert result.text is not None
        assert "eventflow database migrate" in result.text
        assert here.target.problem == result.text
        async with opened("asyncpg", database) as other:
            assert await other.target.checked() is None
        assert await here.result("b") == DONE
        assert here.target.problem is None
