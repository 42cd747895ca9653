"""One quota for any number of processors, steered by the target and by an operator. Real processes, a real broker."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator

import aiohttp
import pytest
from aiohttp import web

from eventflow.topology import Lane, dead_queue, lane_queue
from eventflow_processor.quota.roster import JOIN_S, POLL_S
from sandbox.target.rates import SlidingWindowMaximum
from tests.integration.test_processor import message
from tests.support.amqp import Amqp
from tests.support.cli import Command
from tests.support.running_time import running_s
from tests.support.services import Service, processor
from tests.support.target import Receipt, ScriptedTarget
from tests.support.wait import eventually

RATE_PER_S = 40
JOINED_WITHIN_S = 6.0

Prepare = Callable[..., Service]


@pytest.fixture
async def prepare(broker_url: str, flow: str, target: ScriptedTarget, amqp: Amqp) -> AsyncIterator[Prepare]:
    """Prepares processors of the flow, and stops all of them in the end."""
    prepared: list[Service] = []
    await amqp.declare_flow(flow)

    def prepare_one(**settings: str) -> Service:
        rate = {"TARGET__RATE_PER_S": str(RATE_PER_S)}
        service = processor(broker_url, flow=flow, target_url=target.url, **{**rate, **settings})
        prepared.append(service)
        return service

    yield prepare_one
    for service in prepared:
        if service.process.alive:
            assert await asyncio.to_thread(service.process.stop) == 0, service.output
        assert not service.tracebacks, service.output


@pytest.fixture
def command(broker_url: str, flow: str) -> Command:
    return Command(broker_url=broker_url, flow=flow)


async def share_of(service: Service, http: aiohttp.ClientSession) -> float:
    return await service.metric(http, "eventflow_rate_share_units_per_second")


async def eventually_shares(http: aiohttp.ClientSession, share_per_s: float, *services: Service) -> None:
    async def holds() -> bool:
        return all([await share_of(service, http) == pytest.approx(share_per_s) for service in services])

    await eventually(holds, within_s=JOINED_WITHIN_S, what=f"a share of {share_per_s:g}/s each")


def highest_second(receipts: list[Receipt]) -> int:
    second = SlidingWindowMaximum(1.0)
    for at_s in sorted(receipt.at_s for receipt in receipts):
        second.add(at_s)
    return second.maximum


@pytest.mark.timed
async def test_processors_that_come_and_go_share_one_quota(
    prepare: Prepare, target: ScriptedTarget, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    await amqp.publish(lane_queue(flow, Lane.LIVE), *(message(str(number)) for number in range(RATE_PER_S * 40)))
    one, two, three = prepare(), prepare(), prepare()
    one.process.start()
    await one.ready(http)
    await eventually_shares(http, RATE_PER_S, one)
    for other in (two, three):
        other.process.start()
        await other.ready(http)
    await eventually_shares(http, RATE_PER_S / 3, one, two, three)
    before, began_s = len(target.receipts), running_s()
    await eventually(lambda: len(target.receipts) >= before + 2 * RATE_PER_S, what="two seconds' worth")
    assert running_s() - began_s == pytest.approx(2, rel=0.15), "all of the quota is used"
    two.process.kill()
    await asyncio.to_thread(three.process.stop)
    await eventually_shares(http, RATE_PER_S, one)
    assert highest_second(target.receipts) <= RATE_PER_S + 3 + 1, "a unit for each bucket, and 2 % for lateness"


@pytest.mark.timed
async def test_a_processor_that_cannot_look_spends_nothing(
    prepare: Prepare, target: ScriptedTarget, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    """Its peers keep their shares: they get the units that it does not spend only after the broker has dropped it."""
    await amqp.publish(lane_queue(flow, Lane.LIVE), *(message(str(number)) for number in range(RATE_PER_S * 30)))
    one, two = prepare(), prepare()
    for service in (one, two):
        service.process.start()
        await service.ready(http)
    await eventually_shares(http, RATE_PER_S / 2, one, two)
    two.process.pause()
    before, began_s = len(target.receipts), time.monotonic()
    await eventually(lambda: len(target.receipts) >= before + RATE_PER_S, what="its peer's part")
    assert time.monotonic() - began_s >= 1.7
    two.process.resume()
    await eventually_shares(http, RATE_PER_S / 2, one, two)
    assert highest_second(target.receipts) <= RATE_PER_S + 2 + 1


@pytest.mark.timed
async def test_a_target_whose_window_is_used_up_is_left_alone_by_all(
    prepare: Prepare, target: ScriptedTarget, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    """A RateLimit header states that nothing remains for 2 s; one processor has received it."""
    used_up: list[float] = []

    def answer(receipt: Receipt) -> web.Response | int:
        if len(target.receipts) != RATE_PER_S:
            return 200
        used_up.append(receipt.at_s)
        return web.Response(headers={"RateLimit": '"default";r=0;t=2'})

    target.answer = answer
    services = [prepare(), prepare()]
    for service in services:
        service.process.start()
        await service.ready(http)
    await eventually_shares(http, RATE_PER_S / 2, *services)
    await amqp.publish(lane_queue(flow, Lane.LIVE), *(message(str(number)) for number in range(2 * RATE_PER_S)))
    await eventually(lambda: len(target.ids) == 2 * RATE_PER_S, what="all events")
    later = [receipt.at_s - used_up[0] for receipt in target.receipts if receipt.at_s > used_up[0]]
    in_flight = [after_s for after_s in later if after_s < 0.25]
    assert len(in_flight) <= 0.25 * RATE_PER_S
    assert min(after_s for after_s in later if after_s >= 0.25) >= 1.95


async def test_a_graphql_answer_that_refuses_with_200_is_no_success(
    prepare: Prepare, target: ScriptedTarget, flow: str, amqp: Amqp
) -> None:
    def answers() -> Iterator[web.Response]:
        status = {"maximumAvailable": 1000.0, "currentlyAvailable": 10, "restoreRate": 100.0}
        cost = {"requestedQueryCost": 50, "throttleStatus": status}
        yield web.json_response({"errors": [{"message": "Throttled"}], "extensions": {"cost": cost}})
        yield web.json_response({"data": {}})

    scripted = answers()
    target.answer = lambda _: next(scripted)
    service = prepare(TARGET__FEEDBACK="shopify-graphql", TARGET__COST="50", TARGET__RATE_PER_S="100")
    service.process.start()
    await amqp.publish(lane_queue(flow, Lane.LIVE), message("e"))
    await eventually(lambda: len(target.of("e")) == 2, what="a second attempt")
    first, second = target.of("e")
    assert (first.attempt, second.attempt) == (1, 1), "a refusal costs no attempt"
    assert second.at_s - first.at_s >= 0.4, "when the points that were missing have been restored"
    assert await amqp.depth(dead_queue(flow)) == 0


@pytest.mark.timed
async def test_a_paused_flow_stays_paused_until_it_is_resumed_whoever_serves_it(
    prepare: Prepare, target: ScriptedTarget, flow: str, amqp: Amqp, command: Command, http: aiohttp.ClientSession
) -> None:
    one = prepare()
    one.process.start()
    await one.ready(http)
    assert (await command("pause", flow)).stdout == f"flow {flow}: paused, unlimited\n"
    await eventually(lambda: "flow.paused" in one.output, within_s=2, what="the pause heard")
    await amqp.publish(lane_queue(flow, Lane.LIVE), *(message(str(number)) for number in range(5)))
    await asyncio.to_thread(one.process.stop)
    another = prepare()
    another.process.start()
    await another.ready(http)
    await eventually(lambda: "flow.paused" in another.output, within_s=2, what="the pause known after a restart")
    assert not target.receipts
    shown = (await command("rate", "show", flow)).stdout
    assert "paused" in shown
    assert (await command("resume", flow)).status == 0
    await eventually(lambda: len(target.ids) == 5, what="all events after the end of the pause")


@pytest.mark.timed
async def test_an_ordered_rate_holds_for_all_and_after_a_restart(
    prepare: Prepare, flow: str, command: Command, http: aiohttp.ClientSession
) -> None:
    one, two = prepare(), prepare()
    for service in (one, two):
        service.process.start()
        await service.ready(http)
    await eventually_shares(http, RATE_PER_S / 2, one, two)
    assert (await command("rate", "set", flow, "10")).stdout == f"flow {flow}: 10/s\n"
    await eventually_shares(http, 5, one, two)
    for service in (one, two):
        await asyncio.to_thread(service.process.stop)
    one.process.start()
    await one.ready(http)
    await eventually_shares(http, 10, one)
    await command("rate", "set", flow, "configured")
    await eventually_shares(http, RATE_PER_S, one)


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf", "fast", "1e9"])
async def test_a_rate_that_is_none_is_refused(rate: str, flow: str, command: Command) -> None:
    ended = await command("rate", "set", flow, "--", rate)
    assert ended.status == 2
    assert "units per second" in ended.stderr


async def test_an_unknown_flow_is_refused(command: Command, flow: str) -> None:
    ended = await command("pause", "nobody")
    assert ended.status == 2
    assert flow in ended.stderr


async def test_rates_can_be_shown_before_anything_runs(command: Command, flow: str) -> None:
    ended = await command("rate", "show", TARGET__RATE_PER_S="7.5")
    assert ended.status == 0
    assert "7.5/s" in ended.stdout
    assert flow in ended.stdout


@pytest.mark.timed
async def test_nonsense_in_the_stream_of_orders_changes_nothing(
    prepare: Prepare, target: ScriptedTarget, flow: str, amqp: Amqp, command: Command, http: aiohttp.ClientSession
) -> None:
    await command("rate", "set", flow, "20")
    service = prepare()
    service.process.start()
    await service.ready(http)
    await eventually_shares(http, 20, service)
    for body in (b"", b"[]", json.dumps({"rate_per_s": -1, "paused": False}).encode()):
        await amqp.publish(f"eventflow.{flow}.runtime", message("x", body))
    await eventually(lambda: service.output.count("control.overrides_invalid") == 3, what="all of it seen")
    assert await share_of(service, http) == 20
    ended = await command("rate", "set", flow, "30")
    assert (ended.status, ended.stdout) == (0, f"flow {flow}: 30/s\n")
    assert "the new override replaces it" in ended.stderr
    await eventually_shares(http, 30, service)


@pytest.mark.timed
async def test_a_newcomer_with_events_need_not_wait_until_the_others_must_have_counted_it(
    prepare: Prepare, target: ScriptedTarget, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    await amqp.publish(lane_queue(flow, Lane.LIVE), *(message(str(number)) for number in range(RATE_PER_S * 30)))
    one, two = prepare(), prepare()
    one.process.start()
    await one.ready(http)
    await eventually_shares(http, RATE_PER_S, one)
    two.process.start()
    await two.ready(http)
    ready_s = running_s()
    await eventually_shares(http, RATE_PER_S / 2, one, two)
    assert running_s() - ready_s < JOIN_S - POLL_S
    assert highest_second(target.receipts) <= RATE_PER_S + 2 + 1
