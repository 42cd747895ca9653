"""The relay as a process: what is committed to the outbox is published, and deleted only after that."""

import asyncio
from collections import Counter
from datetime import UTC, datetime

import pytest

from eventflow.topology import Lane, lane_queue
from tests.support.outbox import arrived, connected, insert_rows, make_outbox, outbox_of, put_rows
from tests.support.services import relay, starting
from tests.support.wait import eventually


@pytest.fixture
async def outbox(database: str) -> str:
    """The URL of a database with an empty outbox."""
    await make_outbox(database)
    return database


@pytest.fixture
async def start(http):
    async with starting(http) as started:
        yield started


async def is_empty(database: str) -> bool:
    return await outbox_of(database) == []


async def until_empty(database: str, **options) -> None:
    await eventually(lambda: is_empty(database), what=lambda: "an empty outbox", **options)


def ids(count: int, prefix: str = "e") -> list[str]:
    return [f"{prefix}-{number}" for number in range(count)]


async def test_a_committed_row_with_flow_type_and_body_becomes_an_event(broker_url, outbox, flow, amqp, start):
    await start(relay(broker_url, database_url=outbox, flows=[flow]))
    async with connected(outbox) as connection, connection.transaction():
        await connection.execute(
            "INSERT INTO eventflow.outbox (flow, type, body) VALUES ($1, 'order.paid', $2)", flow, b'{"paid": 1}'
        )
    await until_empty(outbox)
    [message] = await amqp.drain(lane_queue(flow, Lane.LIVE))
    assert message.body == b'{"paid": 1}'
    assert (message.headers["cloudEvents:type"], message.headers["cloudEvents:source"]) == ("order.paid", "outbox")
    assert len(str(message.headers["cloudEvents:id"])) == 36


async def test_every_column_of_a_row_arrives(broker_url, outbox, flow, amqp, start):
    await start(relay(broker_url, database_url=outbox, flows=[flow]))
    await put_rows(
        outbox,
        ["o-1"],
        flow=flow,
        source="shop",
        time=datetime(2026, 11, 29, 1, 2, 3, 4000, tzinfo=UTC),
        subject="Order 7 ü",
        dataschema="https://example.com/schema",
        extensions='{"tenant": "a", "level": 3, "urgent": true}',
        content_type="application/json",
        traceparent=f"00-{'1' * 32}-{'2' * 16}-01",
    )
    await until_empty(outbox)
    [message] = await amqp.drain(lane_queue(flow, Lane.LIVE))
    assert message.content_type == "application/json"
    assert {
        name: message.headers[name] for name in message.headers if name.startswith(("cloudEvents:", "traceparent"))
    } == {
        "cloudEvents:id": "o-1",
        "cloudEvents:source": "shop",
        "cloudEvents:type": "order.paid",
        "cloudEvents:time": "2026-11-29T01:02:03.004Z",
        "cloudEvents:subject": "Order 7 ü",
        "cloudEvents:dataschema": "https://example.com/schema",
        "cloudEvents:tenant": "a",
        "cloudEvents:level": "3",
        "cloudEvents:urgent": "true",
        "traceparent": f"00-{'1' * 32}-{'2' * 16}-01",
    }


async def test_a_row_that_is_rolled_back_is_never_published(broker_url, outbox, flow, amqp, start):
    await start(relay(broker_url, database_url=outbox, flows=[flow]))
    async with connected(outbox) as connection:
        transaction = connection.transaction()
        await transaction.start()
        await insert_rows(connection, ["undone"], flow=flow)
        await put_rows(outbox, ["done"], flow=flow)
        await until_empty(outbox)
        await transaction.rollback()
    await put_rows(outbox, ["later"], flow=flow)
    await until_empty(outbox)
    assert await arrived(amqp, flow) == Counter(["done", "later"])


async def test_a_row_that_is_committed_after_rows_with_higher_numbers_is_published_soon(
    broker_url, outbox, flow, amqp, start
):
    await start(relay(broker_url, database_url=outbox, flows=[flow]))
    async with connected(outbox) as connection:
        late = connection.transaction()
        await late.start()
        await insert_rows(connection, ["late"], flow=flow)
        for number in range(5):  # several batches, so that the relay has passed the number of the late row
            await put_rows(outbox, [f"early-{number}"], flow=flow)
            await until_empty(outbox)
        await late.commit()
    await until_empty(outbox, within_s=5)
    assert await arrived(amqp, flow) == Counter(["late", *(f"early-{number}" for number in range(5))])


async def test_relays_side_by_side_share_the_rows_and_publish_each_once(broker_url, outbox, flow, amqp, http, start):
    relays = [relay(broker_url, database_url=outbox, flows=[flow], RELAY__BATCH="50") for _ in range(3)]
    for each in relays:
        await start(each)
    await asyncio.gather(*(put_rows(outbox, ids(1000, f"p{program}"), flow=flow) for program in range(4)))
    await until_empty(outbox)
    assert await arrived(amqp, flow) == Counter(each for program in range(4) for each in ids(1000, f"p{program}"))
    shares = [await each.metric(http, "eventflow_outbox_relayed_total") for each in relays]
    assert sum(shares) == 4000
    assert all(shares)
