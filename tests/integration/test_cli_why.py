"""`eventflow why` as a real process, asking real processors."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aio_pika
import aiohttp
import pytest
from aiohttp import web

from eventflow.topology import Lane, dead_queue, lane_queue
from tests.support.amqp import Amqp
from tests.support.cli import Command, bury, dead_letter
from tests.support.services import processor
from tests.support.target import Answer, Receipt, ScriptedTarget
from tests.support.wait import eventually

DELAYS_S = "600,700"


@pytest.fixture
def eventflow(broker_url: str, flow: str) -> Command:
    return Command(broker_url=broker_url, flow=flow)


@pytest.fixture
async def target(broker_url: str, flow: str, http: aiohttp.ClientSession, amqp: Amqp) -> AsyncIterator[ScriptedTarget]:
    """A target that answers as an event's id says, with two processors before it."""
    release = asyncio.Event()

    async def answer(receipt: Receipt) -> Answer:
        match receipt.id:
            case "hangs":
                await release.wait()
                return 200
            case "throttled":
                return web.Response(status=429, headers={"Retry-After": "30"})
        return int(receipt.id)

    await amqp.declare_flow(flow, tuple(map(float, DELAYS_S.split(","))))
    async with ScriptedTarget(answer=answer) as scripted:
        services = [
            processor(broker_url, flow=flow, target_url=scripted.url, TARGET__RETRY_DELAYS_S=DELAYS_S) for _ in range(2)
        ]
        with services[0].process, services[1].process:
            await asyncio.gather(*(service.ready(http) for service in services))
            yield scripted
            release.set()


async def test_processors_say_what_they_hold_and_what_became_of_attempts(
    eventflow: Command, flow: str, amqp: Amqp, target: ScriptedTarget
) -> None:
    async def known(event_id: str) -> dict[str, Any]:
        await amqp.publish(lane_queue(flow, Lane.LIVE), aio_pika.Message(b"{}", message_id=event_id))
        await eventually(lambda: bool(target.of(event_id)), what=event_id)
        ended = await eventflow("why", event_id, "--json", TARGET__RETRY_DELAYS_S=DELAYS_S)
        document = json.loads(ended.stdout)
        answers = [answer for answer in document["processors"]["answers"].values() if answer]
        assert (ended.status, document["processors"]["all"], len(answers)) == (0, 2, 1)
        assert len(document["processors"]["answers"]) == 2, "the other one says that it knows nothing"
        return dict(answers[0])

    hanging = await known("hangs")
    assert (hanging["state"], hanging["lane"], hanging["attempt"]) == ("in_flight", "events", 1)
    failed = (await known("503"))["last"]
    assert (failed["outcome"], failed["reason"], failed["status"]) == ("retry", "server_error", 503)
    assert failed["delay_s"] in {600, 700}
    assert (await known("204"))["last"]["outcome"] == "delivered"
    held = await known("throttled")
    assert (held["state"], held["last"]["outcome"]) == ("held", "hold")
    told = await eventflow("why", "throttled", TARGET__RETRY_DELAYS_S=DELAYS_S)
    assert "held in memory, because the target asked to wait: attempt 1, lane events" in told.stdout


async def test_a_dead_letter_is_found_and_the_dead_queue_stays_whole(eventflow: Command, flow: str, amqp: Amqp) -> None:
    await amqp.declare_flow(flow)
    await bury(amqp, flow, [dead_letter(f"d-{number}") for number in range(40)])
    for _ in range(3):
        ended = await eventflow("why", "d-39")
        assert ended.status == 0
        assert "after 12 attempts: server_error, HTTP 503; for details: eventflow dead show" in ended.stdout
    assert [str(letter.headers["cloudEvents:id"]) for letter in await amqp.drain(dead_queue(flow))] == [
        f"d-{number}" for number in range(40)
    ]


async def test_an_event_that_nobody_knows_is_a_status_of_its_own(eventflow: Command, flow: str, amqp: Amqp) -> None:
    await amqp.declare_flow(flow)
    await amqp.publish(lane_queue(flow, Lane.LIVE), aio_pika.Message(b"{}", message_id="waits"))
    ended = await eventflow("why", "waits")
    assert ended.status == 1
    assert "It may still wait in a queue, or it never arrived." in ended.stdout
    assert await amqp.depth(lane_queue(flow, Lane.LIVE)) == 1


async def test_an_unknown_event_names_the_flows_that_were_not_searched(
    eventflow: Command, flow: str, amqp: Amqp
) -> None:
    await amqp.declare_flow(flow)
    ended = await eventflow("why", "unknown", "--flow", flow, FLOWS__ANOTHER__TARGET__RATE_PER_S="7")
    assert "not searched: --flow another" in ended.stdout
