"""Data that released versions have left in the broker and on disk are used by the services and commands of today."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import aio_pika
import aiohttp
import pytest
from aio_pika.abc import AbstractIncomingMessage

from eventflow.topology import (
    CONTROL_EXCHANGE,
    Lane,
    dead_queue,
    flow_specs,
    lane_queue,
    overrides_queue,
    overrides_spec,
)
from tests.support.amqp import Amqp
from tests.support.cli import Command
from tests.support.recorded import FIXTURES, FLOW, RecordedMessage, recorded_bodies, recorded_messages
from tests.support.recorded_values import VALUES, Values
from tests.support.services import collector, processor
from tests.support.target import Receipt, ScriptedTarget
from tests.support.wait import eventually

DELAYS_S = (0.2, 0.5)
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SPOOLED = b"\x00any\xff", b'{"n": 7}', b"", b"x" * 10_000

SPOOLED_AT = {"0.1.0": "2026-11-28T09:59", "0.2.0": "2026-11-29T12:19", "0.3.0": "2026-11-29T12:17"}

COPY = {"ce-source": "amqp", "ce-type": "eventflow.event", "Content-Type": "any/thing"}
LIVE = {"ce-source": "/events/recorded", "ce-type": "eventflow.event"}
FULL = {
    "ce-source": "/shop/7",
    "ce-type": "order.created",
    "ce-time": "2026-11-27T21:34:44.573Z",
    "Content-Type": "application/json; charset=utf-8",
    "traceparent": TRACEPARENT,
}


def time_of(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def sent_on(values: Values) -> dict[str, dict[str, str]]:
    """Return the headers with which a target gets each message; an attempt that is not named is the first."""
    headers = {
        "live_bare": {**LIVE, "ce-id": values.bare_id, "ce-time": time_of(values.accepted("live_bare"))},
        "live_full": {**FULL, "ce-id": "f%C3%BCll-1", "ce-subject": "order/7"},
        "live_without_body": {**LIVE, "ce-id": "e-1"},
        "live_traced": {
            **LIVE,
            "ce-id": "traced-1",
            "Content-Type": "text/plain",
            "traceparent": values.live_traceparent,
        },
        "stranger_plain": {"ce-id": values.plain_id, "ce-source": "amqp", "ce-type": "eventflow.event"},
        "stranger_full": {
            "ce-id": "stranger-1",
            "ce-source": "amqp",
            "ce-type": "stranger.type",
            "ce-time": "2026-11-27T12:30:00.000Z",
            "Content-Type": "text/x-any",
            "Content-Encoding": "br",
        },
        "retry": {
            **COPY,
            "ce-id": "retry-1",
            "ce-time": time_of(values.accepted("retry")),
            "eventflow-attempt": "2",
        },
        "retry_again": {**COPY, "ce-id": "retry-2", "eventflow-attempt": "5"},
        "retry_traced": {**COPY, "ce-id": "retry-3", "eventflow-attempt": "2", "traceparent": TRACEPARENT},
        "deferred": {**COPY, "ce-id": "defer-1"},
        "due": {**COPY, "ce-id": "due-1", "eventflow-attempt": "2"},
        "replayed": {**COPY, "ce-id": "dead-3"},
    }
    if values.has_extensions:
        extended = {"ce-dataschema": "https://example.com/schema", "ce-region": "eu-1", "x-shop": "7"}
        headers["live_extended"] = {**FULL, "ce-id": "extended-1", "ce-subject": "s" * 300, **extended}
    return headers


@pytest.fixture(params=VALUES)
def version(request: pytest.FixtureRequest) -> str:
    """A released version."""
    return str(request.param)


@pytest.fixture
async def broker_with_flow(broker_url: str, amqp: Amqp) -> AsyncIterator[str]:
    """A broker with the flow of the records, which are the only ones that use it."""
    await amqp.declare(flow_specs(FLOW, DELAYS_S))
    await amqp.declare([overrides_spec(FLOW)])
    yield broker_url
    await amqp.delete(*(spec.name for spec in flow_specs(FLOW, DELAYS_S)), overrides_queue(FLOW))


async def put(amqp: Amqp, message: RecordedMessage, *, queue: str) -> None:
    """Publish a message with the properties that it had, byte for byte."""
    async with amqp.connection.channel() as channel:
        underlay = await channel.get_underlay_channel()
        await underlay.basic_publish(message.body, routing_key=queue, properties=message.properties)


async def announce(amqp: Amqp, body: bytes) -> None:
    async with amqp.connection.channel() as channel:
        exchange = await channel.declare_exchange(CONTROL_EXCHANGE, aio_pika.ExchangeType.FANOUT, durable=True)
        await exchange.publish(aio_pika.Message(body), routing_key="", mandatory=False)


async def test_every_waiting_message_is_delivered_with_its_attributes_and_its_attempt(
    version: str, broker_with_flow: str, amqp: Amqp, http: aiohttp.ClientSession, target: ScriptedTarget
) -> None:
    waiting = {kind: message for kind, message in recorded_messages(version).items() if ".dead" not in message.queue}
    for message in waiting.values():
        was_delayed = ".retry." in message.queue  # the broker moves it to the due lane
        await put(amqp, message, queue=lane_queue(FLOW, Lane.DUE) if was_delayed else message.queue)
    service = processor(broker_with_flow, flow=FLOW, target_url=target.url)
    with service.process:
        await eventually(lambda: len(target.taken) == len(waiting), what=lambda: f"all of them:\n{service.output}")
    receipts = {receipt.headers["ce-id"]: receipt for receipt in target.receipts}
    expectations = sent_on(VALUES[version])
    for kind, expected in expectations.items():
        assert_sent_on(receipts[expected["ce-id"]], {"eventflow-attempt": "1", **expected}, waiting[kind].body)
    assert set(expectations) == set(waiting)


def assert_sent_on(receipt: Receipt, expected: dict[str, str], body: bytes) -> None:
    """Expect a request with these headers and this body, and with no attribute beside."""
    assert receipt.body == body
    assert receipt.headers["Idempotency-Key"] == expected["ce-id"]
    assert {name: receipt.headers.get(name) for name in expected} == expected
    for name in ("ce-subject", "traceparent", "Content-Encoding"):
        assert name in expected or name not in receipt.headers


async def test_dead_letters_are_shown_and_replayed(version: str, broker_with_flow: str, amqp: Amqp) -> None:
    eventflow = Command(broker_url=broker_with_flow, flow=FLOW)
    for message in recorded_messages(version).values():
        if message.queue == dead_queue(FLOW):
            await put(amqp, message, queue=message.queue)
    exported = [json.loads(line) for line in (await eventflow("dead", "export")).stdout.splitlines()]
    values = VALUES[version]
    told = ("id", "reason", "last_status", "attempts", "last_failed_at", "body")
    assert [tuple(letter[name] for name in told) for letter in exported] == [
        ("stranger-2", "expired", None, 1, None, "late"),
        ("dead-1", "server_error", 500, 1, time_of(values.failed("dead")), '{"n": 7}'),
        ("dead-2", values.silence[0], None, 1, time_of(values.failed("dead_without_status")), '{"n": 7}'),
    ]
    assert (await eventflow("dead", "replay", "--all")).status == 0
    replayed = await amqp.drain(lane_queue(FLOW, Lane.REPLAY))
    assert [message.headers["cloudEvents:id"] for message in replayed] == ["stranger-2", "dead-1", "dead-2"]


async def test_spool_files_are_adopted_and_drained_into_the_broker(
    version: str, broker_with_flow: str, amqp: Amqp, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    shutil.copytree(FIXTURES / version / "spool", spool)
    service = collector(broker_with_flow, flow=FLOW, COLLECTOR__SPOOL_DIR=str(spool))
    with service.process:
        await service.ready(http)

        async def all_there() -> bool:
            return await amqp.depth(lane_queue(FLOW, Lane.LIVE)) == 2 * len(SPOOLED)

        await eventually(all_there, what=lambda: f"all events:\n{service.output}")
        messages = await amqp.drain(lane_queue(FLOW, Lane.LIVE))
        await eventually(lambda: not (spool / "spool-1.sqlite3").exists(), what="an adopted file that is gone")
    for name in ("stopped", "killed"):
        ids = [f"{name}-1", f"{name}-ü", f"{name}-3", f"{name}-4"]
        of_one = [message for message in messages if message.headers["cloudEvents:id"] in ids]
        assert [message.headers["cloudEvents:id"] for message in of_one] == ids
        assert tuple(message.body for message in of_one) == SPOOLED
        assert [message.content_type for message in of_one] == [
            None,
            "application/json; charset=utf-8",
            "text/plain",
            None,
        ]
        full = of_one[1].headers
        assert (full["cloudEvents:subject"], full["cloudEvents:time"], full["traceparent"]) == (
            "order/7",
            "2026-11-27T21:34:44.573Z",
            TRACEPARENT,
        )
        assert {message.headers["eventflow-accepted-at"][:16] for message in of_one} == {SPOOLED_AT[version]}


async def test_the_command_sends_spool_files(version: str, broker_with_flow: str, amqp: Amqp, tmp_path: Path) -> None:
    shutil.copytree(FIXTURES / version / "spool", tmp_path / "spool")
    ended = await Command(broker_url=broker_with_flow, flow=FLOW)("spool", "send", str(tmp_path / "spool"))
    assert ended.status == 0, ended.stderr
    messages = await amqp.drain(lane_queue(FLOW, Lane.LIVE))
    assert [message.body for message in messages] == [*SPOOLED, *SPOOLED]


async def test_a_processor_heeds_what_one_of_a_released_version_announces(
    version: str, broker_with_flow: str, amqp: Amqp, http: aiohttp.ClientSession, target: ScriptedTarget
) -> None:
    said = recorded_bodies(version, "control")
    service = processor(broker_with_flow, flow=FLOW, target_url=target.url, TARGET__RATE_PER_S="50")
    with service.process:
        await service.ready(http)
        await announce(amqp, said["breaker open"])
        await service.counts(http, "eventflow_breaker_open", 1)
        await announce(amqp, said["breaker closed"])
        await service.counts(http, "eventflow_breaker_open", 0)
        await announce(amqp, said["rate"])

        async def is_reduced() -> bool:
            return 25 <= await service.metric(http, "eventflow_rate_limit_units_per_second") < 30

        await eventually(is_reduced, what=lambda: f"a reduced rate:\n{service.output}")
        await amqp.publish(lane_queue(FLOW, Lane.LIVE), aio_pika.Message(b"{}", message_id="before"))
        await eventually(lambda: len(target.taken) == 1, what="a delivery")
        began_s = asyncio.get_running_loop().time()
        await announce(amqp, said["pause"])  # of 3 s
        # An event takes another way than a message between processors, and could overtake the pause. Such messages
        # keep their order, so the pause has begun when those behind it have had their effect.
        await announce(amqp, said["breaker open"])
        await service.counts(http, "eventflow_breaker_open", 1)
        await announce(amqp, said["breaker closed"])
        await service.counts(http, "eventflow_breaker_open", 0)
        await amqp.publish(lane_queue(FLOW, Lane.LIVE), aio_pika.Message(b"{}", message_id="after"))
        await eventually(lambda: len(target.taken) == 2, what="a delivery after the pause")
        assert asyncio.get_running_loop().time() - began_s > 2.5
    assert service.process.returncode == 0


async def test_why_is_asked_and_answered_across_versions(
    version: str, broker_with_flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    said = recorded_bodies(version, "control")
    answers: list[dict] = []
    release = asyncio.Event()

    async def keep(message: AbstractIncomingMessage) -> None:
        answers.append(json.loads(message.body))

    async def hang(_: Receipt) -> int:
        await release.wait()
        return 200

    async with ScriptedTarget(answer=hang) as target, amqp.connection.channel() as channel:
        service = processor(broker_with_flow, flow=FLOW, target_url=target.url)
        with service.process:
            await service.ready(http)
            exchange = await channel.declare_exchange(CONTROL_EXCHANGE, aio_pika.ExchangeType.FANOUT, durable=True)
            ear = await channel.declare_queue("eventflow.control.test", exclusive=True)
            await ear.bind(exchange)
            await ear.consume(keep, no_ack=True)
            await amqp.publish(lane_queue(FLOW, Lane.LIVE), aio_pika.Message(b"{}", message_id="hangs"))
            await eventually(lambda: bool(target.receipts), what="an attempt")
            await announce(amqp, said["why"])
            await eventually(lambda: "known" in {answer["kind"] for answer in answers}, what="an answer of today's")
            # The command waits for as many answers as there are consumers: this one stands for the other processor.
            live = await channel.get_queue(lane_queue(FLOW, Lane.LIVE))
            await live.consume(keep, no_ack=True)

            asking = asyncio.create_task(Command(broker_url=broker_with_flow, flow=FLOW)("why", "hangs", "--json"))
            while not asking.done():  # as the processor of that version would, whenever it is asked
                await announce(amqp, said["known"])
                with suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(asking), 0.05)
            release.set()
    known = json.loads(asking.result().stdout)["processors"]["answers"]
    peers = known[json.loads(said["known"])["from"]]
    assert (peers["state"], peers["lane"], peers["attempt"]) == ("in_flight", "events", 1)


async def test_orders_of_a_released_version_are_obeyed_and_shown(
    version: str, broker_with_flow: str, amqp: Amqp, http: aiohttp.ClientSession, target: ScriptedTarget
) -> None:
    ordered = recorded_bodies(version, "runtime")
    await amqp.publish(overrides_queue(FLOW), aio_pika.Message(ordered["rate_while_paused"]))
    await amqp.publish(lane_queue(FLOW, Lane.LIVE), aio_pika.Message(b"{}", message_id="waits"))
    service = processor(broker_with_flow, flow=FLOW, target_url=target.url, TARGET__RATE_PER_S="50")
    with service.process:
        await service.ready(http)
        await service.counts(http, "eventflow_rate_limit_units_per_second", 12.5)
        shown = (await Command(broker_url=broker_with_flow, flow=FLOW)("rate", "show")).stdout
        assert "12.5/s" in shown
        assert "paused" in shown
        assert not target.receipts
        await amqp.publish(overrides_queue(FLOW), aio_pika.Message(ordered["as_configured"]))
        await eventually(lambda: bool(target.taken), what=lambda: f"a delivery:\n{service.output}")
        await service.counts(http, "eventflow_rate_limit_units_per_second", 50)
