"""Messages of strangers: whatever stands in one, it is an event, and it ends no connection.

Reproduced on 0.1.0: a message with headers of 500 nested tables, which the broker confirms, ended every session that
met it, so that the flow stood.
"""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from eventflow.amqp import wire
from eventflow.amqp.browser import browsing
from eventflow.amqp.channel import answered, open_channel
from eventflow.amqp.connection import Connection, closing, connect
from eventflow.amqp.consume_channel import consume_channel_on
from eventflow.amqp.session import keep_connected
from eventflow.message import ID, Envelope, encode
from eventflow.operations.session import connected, publishing
from eventflow.topology import CONTROL_EXCHANGE, Lane, dead_queue, ingest_specs, lane_queue, overrides_queue
from tests.support.amqp import Amqp
from tests.support.cli import Command
from tests.support.envelopes import envelopes
from tests.support.services import Service, processor
from tests.support.tables import (
    CONTENT_TYPE,
    DELIVERY_MODE,
    HEADERS,
    MESSAGE_ID,
    PERSISTENT,
    TIMESTAMP,
    RawProperties,
    entry,
    long,
    nested,
    short,
)
from tests.support.target import ScriptedTarget
from tests.support.wait import eventually

STRANGE = {
    "nested": RawProperties(
        HEADERS | DELIVERY_MODE | MESSAGE_ID,
        long(entry(ID.encode(), b"S", long(b"nested")) + entry(b"deep", b"F", nested(500))),
        PERSISTENT,
        short(b"m"),
    ),
    "a frame full": RawProperties(
        HEADERS | DELIVERY_MODE | MESSAGE_ID,
        long(entry(ID.encode(), b"S", long(b"full")) + entry(b"", b"V", b"") * 30_000),
        PERSISTENT,
        short(b"m"),
    ),
    "no text": RawProperties(
        CONTENT_TYPE | HEADERS | DELIVERY_MODE | MESSAGE_ID,
        short(b"\xff\xfe/x"),
        long(entry(b"\xff", b"S", long(b"\xff")) + entry(ID.encode(), b"S", long(b"no text"))),
        PERSISTENT,
        short(b"\xff"),
    ),
    "the year 36812": RawProperties(
        DELIVERY_MODE | MESSAGE_ID | TIMESTAMP, PERSISTENT, short(b"late"), b"\x00\x03\xe8" + b"\xd4" * 5
    ),
    "the end of time": RawProperties(DELIVERY_MODE | MESSAGE_ID | TIMESTAMP, PERSISTENT, short(b"end"), b"\xff" * 8),
}


@pytest.fixture
async def service(
    broker_url: str, flow: str, target: ScriptedTarget, http: aiohttp.ClientSession, amqp: Amqp
) -> AsyncIterator[Service]:
    """A processor that gives an event up after two attempts."""
    await amqp.declare_flow(flow)
    one = processor(broker_url, flow=flow, target_url=target.url, TARGET__MAX_ATTEMPTS="2")
    with one.process:
        await one.ready(http)
        yield one
        assert "broker.session_ended" not in one.output, one.output
        assert "Traceback" not in one.output, one.output


@pytest.mark.parametrize("name", list(STRANGE))
@pytest.mark.usefixtures("service")
async def test_a_strangers_message_is_an_event_and_ends_no_session(
    target: ScriptedTarget, flow: str, amqp: Amqp, broker_url: str, name: str
) -> None:
    target.answer = lambda receipt: 422 if receipt.body == b"strange" else 200
    await amqp.publish_raw(STRANGE[name], b"strange", queue=lane_queue(flow, Lane.LIVE))
    await amqp.publish(lane_queue(flow, Lane.LIVE), *amqp.messages(5))
    await eventually(lambda: len(target.taken) == 5, what="those behind it")
    await eventually(lambda: len(target.receipts) == 7, what="both attempts")
    command = Command(broker_url=broker_url, flow=flow)

    async def is_dead() -> bool:
        return "client_error" in (await command("dead", "list")).stdout

    await eventually(is_dead, what="the dead letter")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("is_supported", [True, False], ids=["the wire's way", "the library's way"])
@settings(
    max_examples=8,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
@given(sent=st.lists(envelopes, min_size=10, max_size=30))
def test_what_is_published_is_what_is_delivered(
    broker_url: str, flow: str, monkeypatch: pytest.MonkeyPatch, sent: list[Envelope], *, is_supported: bool
) -> None:
    monkeypatch.setattr(wire, "is_supported", lambda: is_supported)
    assert asyncio.run(_delivered(sent, broker_url, flow)) == sent


async def _delivered(sent: list[Envelope], broker_url: str, flow: str) -> list[Envelope]:
    """Publish envelopes to the queue of live events, and return those that are delivered."""
    queue = lane_queue(flow, Lane.LIVE)
    async with connected([broker_url]) as link, publishing(link, ingest_specs(flow)) as publisher:
        for publication in [publisher.publish(encode(envelope), queue=queue) for envelope in sent]:
            await publication.confirmed(timeout_s=10)
    delivered: list[Envelope] = []

    async def session(connection: Connection) -> None:
        channel = await open_channel(connection)
        consuming = consume_channel_on(connection, channel)

        def deliver(envelope: Envelope, tag: int) -> None:
            delivered.append(envelope)
            consuming.settle(tag, requeue=False)

        await consuming.consume(queue, prefetch=100, deliver=deliver)
        await eventually(lambda: len(delivered) == len(sent), what="all deliveries")
        await answered("close", channel.close())

    async with asyncio.timeout(30):
        await keep_connected([broker_url], name="test", session=session)
    return delivered


async def test_an_operator_sees_and_replays_strangers_messages(broker_url: str, flow: str, amqp: Amqp) -> None:
    await amqp.declare_flow(flow)
    for properties in STRANGE.values():
        await amqp.publish_raw(properties, b"strange", queue=dead_queue(flow))
    await amqp.publish(dead_queue(flow), *amqp.messages(1))
    connection = await connect(broker_url, name="test")
    async with closing(connection), browsing(connection, dead_queue(flow)) as browser:
        *strange, plain = await browser.read(10)
    assert [held.envelope.event.body for held in strange] == [b"strange"] * len(STRANGE)
    assert plain.envelope.event.id == "m-0"
    command = Command(broker_url=broker_url, flow=flow)
    assert "6 shown of 6" in (await command("dead", "list")).stdout
    assert "replayed 6 of 6" in (await command("dead", "replay", "--all")).stdout


@pytest.mark.parametrize("is_supported", [True, False], ids=["the wire's way", "the library's way"])
@pytest.mark.parametrize("name", list(STRANGE))
async def test_a_strangers_message_is_delivered_and_settled_either_way(
    broker_url: str, flow: str, amqp: Amqp, monkeypatch: pytest.MonkeyPatch, name: str, *, is_supported: bool
) -> None:
    monkeypatch.setattr(wire, "is_supported", lambda: is_supported)
    await amqp.declare_flow(flow)
    queue = lane_queue(flow, Lane.LIVE)
    await amqp.publish_raw(STRANGE[name], b"strange", queue=queue)
    got: list[tuple[bytes, int]] = []

    async def session(connection: Connection) -> None:
        channel = await open_channel(connection)
        consuming = consume_channel_on(connection, channel)
        await consuming.consume(
            queue, prefetch=10, deliver=lambda envelope, tag: got.append((envelope.event.body, tag))
        )
        await eventually(lambda: len(got) == 1, what="the delivery")
        consuming.settle(got[0][1], requeue=False)
        await answered("close", channel.close())

    async with asyncio.timeout(10):
        await keep_connected([broker_url], name="test", session=session)
    assert [body for body, _ in got] == [b"strange"]


@pytest.mark.parametrize("is_supported", [True, False], ids=["the wire's way", "the library's way"])
async def test_a_delivery_that_cannot_be_handed_over_comes_again_and_ends_nothing(
    broker_url: str, flow: str, amqp: Amqp, monkeypatch: pytest.MonkeyPatch, *, is_supported: bool
) -> None:
    monkeypatch.setattr(wire, "is_supported", lambda: is_supported)
    await amqp.declare_flow(flow)
    queue = lane_queue(flow, Lane.LIVE)
    await amqp.publish(queue, *amqp.messages(2))
    tried: list[str] = []

    async def session(connection: Connection) -> None:
        channel = await open_channel(connection)
        consuming = consume_channel_on(connection, channel)
        taken: list[int] = []

        def deliver(envelope: Envelope, tag: int) -> None:
            tried.append(envelope.event.id)
            if tried.count("m-0") == 1 and envelope.event.id == "m-0":
                raise RuntimeError("a bug of ours")
            taken.append(tag)

        await consuming.consume(queue, prefetch=10, deliver=deliver)
        await eventually(lambda: len(taken) == 2, what="both deliveries")
        for tag in taken:
            consuming.settle(tag, requeue=False)
        await answered("close", channel.close())

    async with asyncio.timeout(10):
        await keep_connected([broker_url], name="test", session=session)
    assert tried == ["m-0", "m-1", "m-0"], "in one session, after a pause"


async def test_what_processors_and_operators_say_ends_no_session_whatever_is_in_it(
    service: Service, flow: str, amqp: Amqp, http: aiohttp.ClientSession, target: ScriptedTarget, broker_url: str
) -> None:
    """The stream keeps its last message, so that one there ended every session of every processor from then on."""
    command = Command(broker_url=broker_url, flow=flow)
    assert (await command("pause", flow)).status == 0
    for properties in STRANGE.values():
        await amqp.publish_raw(properties, b"{}", queue="\u00e9", exchange=CONTROL_EXCHANGE)
        await amqp.publish_raw(properties, b"{}", queue=overrides_queue(flow))
    await eventually(lambda: service.output.count("control.overrides_invalid") == len(STRANGE), what="all seen")
    second = processor(broker_url, flow=flow, target_url=target.url)
    with second.process:
        await eventually(lambda: "control.overrides_invalid" in second.output, what="the last one seen")
        assert (await command("resume", flow)).status == 0
        await second.ready(http)
        assert "broker.session_ended" not in second.output, second.output
