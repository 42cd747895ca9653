"""Members of a flow and its quota: only processors that can work, and that receive the orders of an operator."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import aio_pika
import aiohttp
import pytest

from eventflow.control.lease import LOST_AFTER_S
from eventflow.control.overrides import Overrides, encode_overrides
from eventflow.topology import Lane, lane_queue, overrides_queue
from sandbox.broker.node import PrivateNode
from tests.integration.test_processor import message
from tests.support.amqp import Amqp
from tests.support.cli import Command
from tests.support.proxy import Link, Proxy, no_link
from tests.support.rights import add_user, set_rights
from tests.support.services import Service, processor
from tests.support.target import ScriptedTarget
from tests.support.wait import eventually

RATE_PER_S = 40
RESHARED_WITHIN_S = 12.0

Start = Callable[..., Service]


@pytest.fixture
async def start(flow: str, target: ScriptedTarget) -> AsyncIterator[Start]:
    """Starts processors of the flow, and stops all of them in the end."""
    async with AsyncExitStack() as stack:

        def start_one(broker_url: str, **settings: str) -> Service:
            settings.setdefault("TARGET__RATE_PER_S", str(RATE_PER_S))
            service = processor(broker_url, flow=flow, target_url=target.url, **settings)
            service.process.start()
            stack.push_async_callback(asyncio.to_thread, service.process.stop)
            return service

        yield start_one


def is_control(link: Link) -> bool:
    return link.name.endswith(" control")


def is_standby(link: Link) -> bool:
    return link.name.endswith(" overrides")


async def share_is(service: Service, http: aiohttp.ClientSession, share_per_s: float) -> None:
    async def is_share() -> bool:
        return await service.metric(http, "eventflow_rate_share_units_per_second") == pytest.approx(share_per_s)

    await eventually(
        is_share, within_s=RESHARED_WITHIN_S, what=lambda: f"a share of {share_per_s:g}/s\n{service.output}"
    )


async def control_of(service: Service, http: aiohttp.ClientSession) -> tuple[int, str]:
    async with http.get(f"{service.admin_url}/readyz") as answer:
        return answer.status, json.loads(await answer.text()).get("control", "")


async def control_is(
    service: Service, http: aiohttp.ClientSession, status: int, state: str, *, within_s: float
) -> None:
    async def is_so() -> bool:
        return await control_of(service, http) == (status, state)

    await eventually(is_so, within_s=within_s, what=lambda: f"/readyz {status}, control {state}\n{service.output}")


@pytest.mark.parametrize("way", ["refused", "silent"])
async def test_a_processor_that_cannot_hear_orders_sends_nothing_and_leaves_its_share_to_the_others(
    way: str, start: Start, broker_url: str, target: ScriptedTarget, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    """Reproduced on 0.1.0: without its control connection a processor went on through `pause`, and was ready."""
    await amqp.declare_flow(flow)
    async with Proxy(broker_url) as proxy:
        deaf, healthy = start(proxy.url), start(broker_url)
        for service in (deaf, healthy):
            await service.ready(http)
            await share_is(service, http, RATE_PER_S / 2)
        async with AsyncExitStack() as stack:
            if way == "silent":
                stack.enter_context(proxy.stalled(to_broker=False, applies=is_control))
            else:
                proxy.refuses = is_control
                proxy.cut(is_control)
            await control_is(deaf, http, 503, "down", within_s=LOST_AFTER_S + 2)
            await share_is(healthy, http, RATE_PER_S)
            assert await amqp.consumers(lane_queue(flow, Lane.LIVE)) == 1
            await amqp.publish(lane_queue(flow, Lane.LIVE), *(message(str(number)) for number in range(RATE_PER_S)))
            await eventually(lambda: len(target.ids) == RATE_PER_S, what="the events, all by the healthy one")
            assert await deaf.metric(http, "eventflow_attempts_total") == 0
            proxy.refuses = no_link
        await deaf.ready(http, within_s=40)
        for service in (deaf, healthy):
            await share_is(service, http, RATE_PER_S / 2)


async def test_an_order_that_was_not_heard_is_learned_before_anything_is_sent_again(
    start: Start, broker_url: str, target: ScriptedTarget, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    """Reproduced on 0.1.0: `pause` did not reach a processor that had lost its control connection."""
    await amqp.declare_flow(flow)
    command = Command(broker_url=broker_url, flow=flow)
    async with Proxy(broker_url) as proxy:
        deaf = start(proxy.url)
        await deaf.ready(http)
        proxy.refuses = is_control
        proxy.cut(is_control)
        await amqp.publish(lane_queue(flow, Lane.LIVE), *(message(str(number)) for number in range(RATE_PER_S * 20)))
        assert (await command("pause", flow)).status == 0
        await control_is(deaf, http, 503, "down", within_s=LOST_AFTER_S + 2)
        lost_s = time.monotonic()
        proxy.refuses = no_link
        await control_is(deaf, http, 200, "up", within_s=20)
        await eventually(lambda: "flow.paused" in deaf.output, what="the pause known")
        assert all(receipt.at_s < lost_s + 0.5 for receipt in target.receipts), "nothing since"
        assert (await command("resume", flow)).status == 0
        await eventually(
            lambda: any(receipt.at_s > lost_s + 1 for receipt in target.receipts),
            what="deliveries after the end of the pause",
        )


async def obeys(service: Service, flow: str, amqp: Amqp, *, paused: bool, times: int) -> None:
    """Order a pause or its end, and wait until the service has logged that it obeys, for the given number of times."""
    await amqp.publish(overrides_queue(flow), aio_pika.Message(encode_overrides(Overrides(is_paused=paused))))
    logged = "flow.paused" if paused else "flow.resumed"
    await eventually(lambda: len(service.logged(logged)) == times, within_s=LOST_AFTER_S, what=lambda: service.output)


def readers(service: Service) -> int:
    """Return how many times the service has connected to read orders."""
    names = [line["connection"] for line in service.logged("broker.connected")]
    return sum(name.endswith((" control", " overrides")) for name in names)


async def test_with_two_brokers_an_order_arrives_over_either_and_an_old_one_never_after_a_newer_one(
    start: Start, broker_url: str, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    await amqp.declare_flow(flow)
    async with Proxy(broker_url) as first, Proxy(broker_url) as second:
        service = start(f"{first.url},{second.url}")
        await service.ready(http)
        await eventually(lambda: readers(service) == 2, what="both connections")
        with first.stalled(to_broker=False, applies=is_control):
            await obeys(service, flow, amqp, paused=True, times=1)
            await obeys(service, flow, amqp, paused=False, times=1)
            await asyncio.sleep(LOST_AFTER_S)  # as long as the lease
        # Of the three orders that the first connection brings now, only the last one is new.
        with second.stalled(to_broker=False, applies=is_standby):
            await obeys(service, flow, amqp, paused=True, times=2)
        assert len(service.logged("flow.resumed")) == 1
        assert service.logged("control.lost") == []
        assert service.logged("broker.session_ended") == [], "the first connection has brought all orders"


async def test_with_two_brokers_an_order_in_a_stream_that_was_declared_again_is_obeyed(
    start: Start, broker_url: str, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    """Its offset is lower than those of the orders before."""
    await amqp.declare_flow(flow)
    service = start(f"{broker_url},{broker_url}")
    await service.ready(http)
    await obeys(service, flow, amqp, paused=True, times=1)
    await obeys(service, flow, amqp, paused=False, times=1)
    await amqp.delete(overrides_queue(flow))
    await eventually(lambda: readers(service) == 4, what=lambda: f"both connected again:\n{service.output}")
    await service.ready(http)
    await obeys(service, flow, amqp, paused=True, times=2)


async def test_a_processor_that_may_not_listen_never_joins(
    start: Start, node: PrivateNode, target: ScriptedTarget, flow: str, http: aiohttp.ClientSession
) -> None:
    """aio-pika#525. Reproduced on 0.1.0: a user with rights on its flow's queues only, and none on the control queue,
    held events for ever and counted in the quota.
    """
    user = f"u{secrets.token_hex(4)}"
    url = await add_user(node, user)
    own = f"^eventflow[.]{flow}[.]"
    await set_rights(node, user, (own, ".*", own))
    async with Amqp(node.url) as amqp:
        await amqp.declare_flow(flow)
        limited, healthy = start(url), start(node.url)
        await healthy.ready(http)
        await eventually(lambda: "ACCESS_REFUSED" in limited.output, what="a refusal")
        await amqp.publish(lane_queue(flow, Lane.LIVE), *(message(str(number)) for number in range(100)))
        await eventually(lambda: len(target.ids) == 100, what="all events, by the one that can work")
        assert await amqp.consumers(lane_queue(flow, Lane.LIVE)) == 1
    await share_is(healthy, http, RATE_PER_S)
    assert await control_of(limited, http) == (503, "down")


async def test_processors_of_the_same_host_name_and_process_id_both_send(
    start: Start, broker_url: str, target: ScriptedTarget, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    """Reproduced on 0.1.0: of two containers on the host's network, both of process id 1, one never sent."""
    await amqp.declare_flow(flow)
    both = [start(broker_url, module="tests.support.namesakes") for _ in range(2)]
    for service in both:
        await service.ready(http)
        await share_is(service, http, RATE_PER_S / 2)
    await amqp.publish(lane_queue(flow, Lane.LIVE), *(message(str(number)) for number in range(RATE_PER_S * 2)))
    await eventually(lambda: len(target.ids) == RATE_PER_S * 2, what="all events")
    for service in both:
        assert await service.metric(http, "eventflow_attempts_total") > RATE_PER_S / 2
