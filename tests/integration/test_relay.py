"""The relay as a process: what is committed to the outbox is published, and deleted only after that."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from itertools import chain

import asyncpg
import pytest

from eventflow.topology import Lane, lane_queue
from tests.support.cli import Command
from tests.support.databases import connected
from tests.support.otlp import OtlpReceiver
from tests.support.outbox import arrived, ids, insert_rows, make_outbox, outbox_of, put_rows, until_empty
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


async def has_ids(database: str, expected: list[str]) -> bool:
    return [row["id"] for row in await outbox_of(database)] == expected


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
    sent: list[str] = []

    async def shares() -> list[float]:
        return [await each.metric(http, "eventflow_outbox_relayed_total") for each in relays]

    async def have_all_a_share() -> bool:
        """Write more rows, because one relay may take all of the first ones before the others look."""
        written = [ids(50, f"p{program}-{len(sent)}") for program in range(4)]
        await asyncio.gather(*(put_rows(outbox, each, flow=flow) for each in written))
        sent.extend(chain.from_iterable(written))
        return all(await shares())

    await eventually(have_all_a_share, what="rows for each relay")
    await until_empty(outbox)
    assert await arrived(amqp, flow) == Counter(sent)

    async def are_all_counted() -> bool:  # each relay counts a batch just after its COMMIT
        return sum(await shares()) == len(sent)

    await eventually(are_all_counted, what="the count of all rows")


async def test_a_row_of_an_unknown_flow_is_tried_again_and_then_parked_and_holds_up_no_other(
    broker_url, outbox, flow, amqp, http, start
):
    running = await start(relay(broker_url, database_url=outbox, flows=[flow], RELAY__MAX_TRIES="2"))
    await put_rows(outbox, ["lost"], flow="misspelt")
    await put_rows(outbox, ["good"], flow=flow)

    async def parked() -> bool:
        return [(row["id"], row["tries"], row["parked_at"] is None) for row in await outbox_of(outbox)] == [
            ("lost", 2, False)
        ]

    await eventually(parked, what="the row of the unknown flow to be parked")
    [row] = await outbox_of(outbox)
    assert row["error"] == "flow 'misspelt' is not configured in the settings of the relay"
    assert (row["parked_at"] - row["created_at"]).total_seconds() > 0.9  # the second try came after a pause
    assert await arrived(amqp, flow) == Counter(["good"])
    assert await running.metric(http, "eventflow_outbox_parked") == 1
    assert await running.metric(http, "eventflow_outbox_pending") == 0
    assert await running.metric(http, "eventflow_outbox_failures_total") == 2
    assert [line["parked"] for line in await running.logs("outbox.rows_failed", count=2)] == [0, 1]


async def test_a_parked_row_that_an_operator_retries_is_published(broker_url, outbox, flow, amqp, start):
    await put_rows(outbox, ["p-1"], flow=flow, parked_at=datetime.now(UTC), tries=10)
    await start(relay(broker_url, database_url=outbox, flows=[flow]))
    await put_rows(outbox, ["other"], flow=flow)
    await eventually(lambda: has_ids(outbox, ["p-1"]), what="all but the parked row to be published")
    ended = await Command(broker_url=broker_url, flow=flow)("outbox", "retry", "--all", RELAY__DATABASE_URL=outbox)
    assert ended.status == 0, ended.stderr
    await until_empty(outbox)
    assert await arrived(amqp, flow) == Counter(["other", "p-1"])


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        ({"type": "a\nb"}, "type must be 1 to 255 bytes of printable characters"),
        ({"subject": "a\x07b"}, "subject must be 1 to 4096 bytes without control characters"),
        ({"extensions": '{"Tenant": "a"}'}, "'Tenant' is no name of an extension attribute"),
        ({"extensions": '{"tenant": {"a": 1}}'}, "the extension attribute tenant is too long"),
        ({"extensions": '{"size": 1e5000}'}, "a number that is too long"),
        ({"extensions": f'{{"tree": {"[" * 5000}{"]" * 5000}}}'}, "are nested"),
    ],
)
async def test_a_row_that_is_no_event_is_parked_at_once(broker_url, outbox, flow, amqp, start, columns, error):
    await start(relay(broker_url, database_url=outbox, flows=[flow]))
    await put_rows(outbox, ["wrong"], flow=flow, **columns)
    await put_rows(outbox, ["good"], flow=flow)

    async def parked() -> bool:
        return [row["parked_at"] is not None for row in await outbox_of(outbox)] == [True]

    await eventually(parked, what="the row to be parked")
    [row] = await outbox_of(outbox)
    assert (row["id"], row["tries"]) == ("wrong", 1)
    assert error in row["error"]
    assert await arrived(amqp, flow) == Counter(["good"])


@pytest.mark.parametrize(
    "columns",
    [
        {"flow": "Orders"},
        {"flow": "a.b"},
        {"flow": "orders", "type": ""},
        {"flow": "orders", "source": "x" * 4097},
        {"flow": "orders", "time": datetime(1, 1, 1, tzinfo=UTC)},
        {"flow": "orders", "extensions": "[]"},
    ],
)
async def test_a_row_that_could_hold_up_the_relay_is_refused_by_its_table(outbox, columns):
    with pytest.raises(asyncpg.CheckViolationError):
        await put_rows(outbox, ["a"], **columns)
    with pytest.raises(asyncpg.CheckViolationError):
        await put_rows(outbox, ["x" * 256], flow="orders")


async def test_rows_larger_than_a_batch_may_read_are_published_one_after_the_other(
    broker_url, outbox, flow, amqp, start
):
    for number in range(3):
        await put_rows(outbox, [f"big-{number}"], flow=flow, body=bytes(12 * 1024 * 1024))
    await put_rows(outbox, ids(10), flow=flow)
    await start(relay(broker_url, database_url=outbox, flows=[flow]))
    await until_empty(outbox)
    messages = await amqp.drain(lane_queue(flow, Lane.LIVE))
    assert sorted(len(message.body) for message in messages) == [2] * 10 + [12 * 1024 * 1024] * 3


async def test_the_trace_of_an_event_goes_on_through_the_outbox(broker_url, outbox, flow, amqp, start):
    async with OtlpReceiver() as receiver:
        await start(relay(broker_url, database_url=outbox, flows=[flow], **receiver.environment))
        await put_rows(outbox, ["traced"], flow=flow, traceparent=f"00-{'1' * 32}-{'2' * 16}-01")
        await put_rows(outbox, ["untraced"], flow=flow)
        await until_empty(outbox)
        await eventually(lambda: bool(receiver.spans), what="the span")
    [span] = receiver.spans
    assert (span.name, span.kind, span.failed) == (f"publish {lane_queue(flow, Lane.LIVE)}", "producer", False)
    assert (span.trace_id, span.parent_id, span.attributes["cloudevents.event_id"]) == ("1" * 32, "2" * 16, "traced")
    headers = {
        message.headers["cloudEvents:id"]: message.headers for message in await amqp.drain(lane_queue(flow, Lane.LIVE))
    }
    assert headers["traced"]["traceparent"] == span.traceparent
    assert "traceparent" not in headers["untraced"]
