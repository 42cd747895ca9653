"""The relay while it is killed, or while broker or database are away: no row is lost, and few are published twice."""

import asyncio
import math
import secrets
import signal
from collections import Counter
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from eventflow.database.connections import connections_to
from eventflow.outbox.taking import delete_late, take
from eventflow.topology import Lane, lane_queue
from eventflow_relay.relay import RELAYING
from sandbox.broker.node import PrivateNode
from sandbox.database.server import PrivateServer
from sandbox.ports import LOOPBACK, free_port
from tests.support.amqp import Amqp
from tests.support.databases import connected, empty_database, execute, fetch
from tests.support.nodes import memory_alarm
from tests.support.outbox import arrived, ids, insert_rows, make_outbox, outbox_of, put_rows, until_empty
from tests.support.pgbouncer import running_pgbouncer
from tests.support.policies import policies_on
from tests.support.postgres_proxy import Loss, PostgresProxy
from tests.support.proxy import Link, Proxy
from tests.support.services import Service, relay, starting
from tests.support.wait import eventually

ROWS = 300
DELETE = b"DELETE FROM eventflow.outbox"


@pytest.fixture
async def outbox(database: str) -> str:
    """The URL of a database with an empty outbox."""
    await make_outbox(database)
    return database


@pytest.fixture
async def own_outbox(database_server: PrivateServer) -> AsyncIterator[str]:
    """The URL of a database with an empty outbox on a server that may be killed."""
    if not database_server.alive:
        database_server.start()
    async with empty_database(database_server.url) as url:
        await make_outbox(url)
        yield url
        if not database_server.alive:
            database_server.start()


@pytest.fixture
async def start(http):
    async with starting(http) as started:
        yield started


@pytest.fixture
async def own_amqp(node: PrivateNode) -> AsyncIterator[Amqp]:
    async with Amqp(node.url) as client:
        yield client


def publishes(link: Link) -> bool:
    return link.publishes


async def until_depth(amqp: Amqp, flow: str, events: int) -> None:
    async def is_there() -> bool:
        return await amqp.depth(lane_queue(flow, Lane.LIVE)) == events

    await eventually(is_there, what=f"{events} events in the queue")


async def kill(service: Service) -> None:
    await asyncio.to_thread(service.process.kill)


async def test_a_relay_killed_before_the_confirms_leaves_each_row_to_the_next_one(
    broker_url, outbox, flow, amqp, http, start
):
    await amqp.declare_flow(flow)
    async with Proxy(broker_url) as way:
        first = await start(relay(way.url, database_url=outbox, flows=[flow]))
        with way.stalled(to_broker=False, applies=publishes):
            await put_rows(outbox, ids(ROWS), flow=flow)
            await until_depth(amqp, flow, ROWS)  # published, and no confirm has come
            assert len(await outbox_of(outbox)) == ROWS
            await kill(first)
    await start(relay(broker_url, database_url=outbox, flows=[flow]))
    await until_empty(outbox)
    assert await arrived(amqp, flow) == Counter(dict.fromkeys(ids(ROWS), 2))


async def test_a_relay_killed_between_the_confirms_and_the_delete_leaves_each_row_to_the_next_one(
    broker_url, outbox, flow, amqp, http, start
):
    async with PostgresProxy(outbox) as way:
        first = await start(relay(broker_url, database_url=way.url, flows=[flow]))
        with way.holding(DELETE) as held:
            await put_rows(outbox, ids(ROWS), flow=flow)
            await eventually(lambda: held.count == 1, what="the relay to delete")
            assert await amqp.depth(lane_queue(flow, Lane.LIVE)) == ROWS
            await kill(first)
            assert len(await outbox_of(outbox)) == ROWS
            await way.cut()
    await start(relay(broker_url, database_url=outbox, flows=[flow]))
    await until_empty(outbox)
    assert await arrived(amqp, flow) == Counter(dict.fromkeys(ids(ROWS), 2))


@pytest.mark.parametrize("loss", [Loss.REQUEST, Loss.ANSWER])
async def test_a_lost_commit_publishes_nothing_twice(broker_url, outbox, flow, amqp, start, loss):
    async with PostgresProxy(outbox) as way:
        await start(relay(broker_url, database_url=way.url, flows=[flow]))
        await put_rows(outbox, ["first"], flow=flow)
        await until_empty(outbox)
        with way.holding(DELETE) as held:
            await put_rows(outbox, ids(ROWS), flow=flow)
            await eventually(lambda: held.count == 1, what="the relay to delete")
            way.losses = [loss]
        await until_empty(outbox)
    assert await arrived(amqp, flow) == Counter(["first", *ids(ROWS)])


async def test_a_relay_that_is_stopped_finishes_its_batch_and_publishes_nothing_twice(
    broker_url, outbox, flow, amqp, http, start
):
    async with PostgresProxy(outbox) as way:
        running = await start(relay(broker_url, database_url=way.url, flows=[flow]))
        with way.holding(DELETE) as held:
            await put_rows(outbox, ids(ROWS), flow=flow)
            await eventually(lambda: held.count == 1, what="the relay to delete")
            running.process.signal(signal.SIGTERM)

            async def is_stopping() -> bool:
                return "it is stopping" in (await running.readiness(http))["obstacles"]

            await eventually(is_stopping, what="the relay to stop")
        await eventually(lambda: not running.process.alive, what="the relay to end")
    assert running.process.returncode == 0, running.output
    assert await outbox_of(outbox) == []
    assert await arrived(amqp, flow) == Counter(ids(ROWS))


async def test_during_an_alarm_no_transaction_is_held_and_after_it_nothing_is_published_twice(
    node, outbox, flow, http, own_amqp, start
):
    running = await start(relay(node.url, database_url=outbox, flows=[flow]))
    held = "SELECT FROM pg_stat_activity WHERE application_name = 'eventflow-relay' AND state LIKE 'idle in%'"
    async with memory_alarm(node):
        # The first batch waits in the socket: RabbitMQ reports an alarm only to a connection that publishes.
        await put_rows(outbox, ids(ROWS), flow=flow)

        async def is_blocked() -> bool:
            return (await running.readiness(http))["publisher"] == "blocked"

        async def holds_none() -> bool:
            return await fetch(outbox, held) == []

        await eventually(is_blocked, what="the alarm to be noticed")
        await eventually(holds_none, what="the transaction to end")
        assert (await running.readiness(http))["status"] == 503
        assert len(await outbox_of(outbox)) == ROWS
        assert await running.metric(http, "eventflow_outbox_pending") == ROWS
    await until_empty(outbox)
    assert await arrived(own_amqp, flow) == Counter(ids(ROWS))


async def test_a_broker_that_is_killed_under_load_gets_every_row_after_its_restart(node, outbox, flow, http, start):
    running = await start(relay(node.url, database_url=outbox, flows=[flow], RELAY__BATCH="50"))
    await put_rows(outbox, ids(3000), flow=flow)

    async def has_begun() -> bool:
        return await running.metric(http, "eventflow_outbox_relayed_total") > 0

    await eventually(has_begun, what="the first batch")
    await asyncio.to_thread(node.kill)
    assert await outbox_of(outbox) != []
    await asyncio.to_thread(node.start)
    await until_empty(outbox, within_s=60)
    async with Amqp(node.url) as amqp:
        assert (await arrived(amqp, flow)).keys() == set(ids(3000))


async def test_a_queue_that_takes_no_more_lets_its_flow_rest_and_others_pass(node, outbox, flow, http, own_amqp, start):
    other = f"{flow}b"
    received: Counter[str] = Counter()
    await own_amqp.declare_flow(flow)
    async with policies_on(node, http) as policies:
        await policies.set({"max-length": ROWS // 2}, pattern=f"^{lane_queue(flow, Lane.LIVE)}$")
        # Many batches, since the queue refuses nothing that was sent before it has reported its limit.
        running = await start(relay(node.url, database_url=outbox, flows=[flow, other], RELAY__BATCH="10"))
        await put_rows(outbox, ids(ROWS), flow=flow)
        await eventually(lambda: bool(running.logged("outbox.flow_refused")), what="a refusal")
        await put_rows(outbox, ["passes"], flow=other)
        await until_depth(own_amqp, other, 1)
        assert {(row["flow"], row["tries"], row["parked_at"]) for row in await outbox_of(outbox)} == {(flow, 0, None)}
        assert await running.metric(http, "eventflow_outbox_failures_total") > 0

        async def is_emptied() -> bool:
            received.update(await arrived(own_amqp, flow))
            return await outbox_of(outbox) == []

        await eventually(is_emptied, within_s=60, what="the other rows to follow as the queue is consumed")
    received.update(await arrived(own_amqp, flow))
    assert received == Counter(ids(ROWS))


async def test_rows_with_late_confirms_are_deleted_without_a_wait_for_those_that_another_relay_has_taken(outbox):
    await put_rows(outbox, ["a", "b", "c"], flow="notify")
    rows = await outbox_of(outbox)
    connections = connections_to(outbox, application="test")
    async with connected(outbox) as other, other.transaction():
        await take(other, floor=0, rows=1, except_flows=[])
        async with connections.transaction(RELAYING) as connection:
            await asyncio.wait_for(delete_late(connection, [*rows[:2], {"number": rows[2]["number"], "id": "x"}]), 30)
    assert [row["id"] for row in await outbox_of(outbox)] == ["a", "c"]
    await connections.close()


async def test_a_database_that_is_away_is_an_obstacle_and_its_rows_follow(
    broker_url, own_outbox, database_server, flow, amqp, http, start
):
    running = await start(relay(broker_url, database_url=own_outbox, flows=[flow]))
    await put_rows(own_outbox, ["before"], flow=flow)
    await until_empty(own_outbox)
    await asyncio.to_thread(database_server.kill)

    async def is_away() -> bool:
        readiness = await running.readiness(http)
        return readiness["status"] == 503 and readiness["database"] == "down"

    await eventually(is_away, what="the loss to be noticed")
    assert await running.metric(http, "eventflow_outbox_database_up") == 0
    assert math.isnan(await running.metric(http, "eventflow_outbox_pending"))
    await asyncio.to_thread(database_server.start)
    await put_rows(own_outbox, ["after"], flow=flow)
    await until_empty(own_outbox)
    await running.ready(http)
    assert await arrived(amqp, flow) == Counter(["before", "after"])
    assert len(running.logged("database.failed")) <= 3, running.output  # each change is logged once


async def test_a_relay_that_never_had_a_broker_does_not_call_its_database_down(own_outbox, flow, http):
    waiting = relay(f"amqp://guest:guest@{LOOPBACK}:{free_port()}/", database_url=own_outbox, flows=[flow])
    waiting.process.start()
    try:
        await eventually(lambda: waiting.readyz(http), what=lambda: f"an admin port:\n{waiting.output}")
        readiness = await waiting.readiness(http)
        assert (readiness["status"], readiness["publisher"], readiness["database"]) == (503, "down", "unknown")
        assert "the database was not asked yet" in " ".join(readiness["obstacles"])
    finally:
        assert await asyncio.to_thread(waiting.process.stop) == 0


async def test_a_database_killed_under_load_loses_no_row_and_doubles_none(
    broker_url, own_outbox, database_server, flow, amqp, start
):
    await start(relay(broker_url, database_url=own_outbox, flows=[flow], RELAY__BATCH="20"))
    for round_number in range(3):
        await put_rows(own_outbox, ids(400, f"r{round_number}"), flow=flow)
        await asyncio.to_thread(database_server.kill)
        await asyncio.to_thread(database_server.start)
    await until_empty(own_outbox)
    assert await arrived(amqp, flow) == Counter(each for number in range(3) for each in ids(400, f"r{number}"))


async def test_behind_pgbouncer_in_transaction_mode_two_relays_publish_each_row_once(
    broker_url, outbox, flow, amqp, start
):
    with running_pgbouncer(outbox, pool_size=2) as url:
        for _ in range(2):
            await start(relay(broker_url, database_url=url, flows=[flow], RELAY__BATCH="50"))
        async with connected(url) as connection:
            for number in range(10):
                async with connection.transaction():
                    await insert_rows(connection, ids(100, f"r{number}"), flow=flow)
        await put_rows(url, ["unknown"], flow="misspelt")

        async def are_published() -> bool:
            return [(row["id"], row["tries"] > 0) for row in await outbox_of(outbox)] == [("unknown", True)]

        await eventually(are_published, what="all rows but that of an unknown flow to be published")
    assert await arrived(amqp, flow) == Counter(each for number in range(10) for each in ids(100, f"r{number}"))


@pytest.fixture
async def relay_role(database: str) -> AsyncIterator[tuple[str, str]]:
    """A role that may make no tables, and the URL of the database for it."""
    role, password = f"r{secrets.token_hex(4)}", secrets.token_hex(8)
    parts = urlsplit(database)
    await execute(database, f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
    yield role, parts._replace(netloc=f"{role}:{password}@{parts.hostname}:{parts.port}").geturl()
    await execute(database, f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_relay_with_the_least_rights_waits_for_the_tables_and_then_works(
    broker_url, database, relay_role, flow, amqp, http
):
    role, url = relay_role
    waiting = relay(broker_url, database_url=url, flows=[flow], RELAY__MAX_TRIES="1")
    waiting.process.start()
    try:

        async def lacks_tables() -> bool:
            obstacles = (await waiting.readiness(http))["obstacles"] if await waiting.readyz(http) else []
            return any("run `eventflow database migrate`" in obstacle for obstacle in obstacles)

        await eventually(lacks_tables, what=lambda: f"the missing tables to be noticed:\n{waiting.output}")
        await make_outbox(database)
        await execute(
            database,
            f"GRANT USAGE ON SCHEMA eventflow TO {role}; GRANT SELECT ON eventflow.database_versions TO {role};"
            f"GRANT SELECT, UPDATE, DELETE ON eventflow.outbox TO {role}",
        )
        await waiting.ready(http)
        await put_rows(database, ["a"], flow=flow)
        await put_rows(database, ["b"], flow="misspelt")

        async def is_parked() -> bool:
            return [(row["id"], row["parked_at"] is None) for row in await outbox_of(database)] == [("b", False)]

        await eventually(is_parked, what="one row to be published and the other parked")
        assert await arrived(amqp, flow) == Counter(["a"])
    finally:
        assert await asyncio.to_thread(waiting.process.stop) == 0
