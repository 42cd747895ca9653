"""Brokers that are cut off in silence, in the network: a leader from its peers only, or a node from everything."""

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from pamqp.commands import Basic

from eventflow.amqp.channel import answered, open_channel
from eventflow.amqp.connection import closing, connect
from eventflow.control.lease import LOST_AFTER_S
from eventflow.control.overrides import Overrides, encode_overrides
from eventflow.errors import BrokerUnavailableError
from eventflow.topology import Lane, lane_queue, overrides_queue, overrides_spec
from eventflow_processor.quota.roster import LEASE_S
from sandbox.broker.cluster import Cluster
from sandbox.broker.networks import Networks, NetworksNotAvailableError
from sandbox.broker.node import NodeError, PrivateNode
from sandbox.target.rates import SlidingWindowMaximum
from tests.integration.test_membership import readers
from tests.integration.test_processor import message
from tests.support.amqp import Amqp
from tests.support.means import cannot
from tests.support.services import Service, processor, starting
from tests.support.target import ScriptedTarget
from tests.support.wait import eventually

RATE_PER_S = 40
EVENTS = 3000
NET_TICK_S = 8
"""Erlang's default of 60 s gives the same split, only later."""

PREFETCH = 400
"""Enough for the whole split at a third of the quota, and not so much that one processor holds all events."""

LINES = 50
WATCHED_S = 10.0
MOVED_WITHIN_S = 60.0
CONFIRMED_WITHIN_S = 5.0


@pytest.fixture
def networks() -> Iterator[Networks]:
    try:
        with Networks(3) as made:
            yield made
    except NetworksNotAvailableError as error:
        pytest.skip(str(error))  # in CI too: rights on the network are nothing that must be had


@pytest.fixture
def cluster(networks: Networks, node_directory: Path) -> Iterator[Cluster]:
    try:
        made = Cluster(
            node_directory / secrets.token_hex(4),
            settings={"loopback_users": "none"},
            hosts=networks.hosts,
            erl_args=f"-kernel net_ticktime {NET_TICK_S}",
        )
    except NodeError as error:
        cannot(f"no nodes of our own: {error}")
    with made:
        yield made


@pytest.mark.broker
@pytest.mark.timeout(300)
async def test_a_leader_without_a_majority_renews_no_lease(
    networks: Networks, cluster: Cluster, target: ScriptedTarget, flow: str, http: aiohttp.ClientSession
) -> None:
    """Measured on 0.1.0: two beside the leader spent their half while four others spent two thirds, 117 % of the quota,
    and stood still after the split, ready.
    """
    live = lane_queue(flow, Lane.LIVE)
    async with Amqp(cluster.nodes[0].url) as amqp:
        await amqp.declare_flow(flow)
        messages = [message(str(number)) for number in range(EVENTS)]
        await asyncio.gather(*(amqp.publish(live, *messages[part::LINES]) for part in range(LINES)))
    leaders: list[PrivateNode | None] = []

    async def is_led() -> bool:
        leaders.append(await asyncio.to_thread(cluster.leader_of, live))
        return leaders[-1] is not None

    await eventually(is_led, what="the leader, which no node names while its management plugin is late")
    leader = leaders[-1]
    assert leader is not None
    others = [node.url for node in cluster.nodes if node is not leader]
    async with AsyncExitStack() as stack:

        async def start(*urls: str) -> Service:
            service = processor(
                ",".join(urls),
                flow=flow,
                target_url=target.url,
                TARGET__RATE_PER_S=str(RATE_PER_S),
                PROCESSOR__PREFETCH=str(PREFETCH),
            )
            service.process.start()
            stack.callback(service.process.kill)
            await service.ready(http, within_s=MOVED_WITHIN_S)
            return service

        async def attempts(service: Service) -> float:
            return await service.metric(http, "eventflow_attempts_total")

        async def all_spend(*services: Service) -> None:
            before = [await attempts(service) for service in services]

            async def spend() -> bool:
                return all([await attempts(each) > then for each, then in zip(services, before, strict=True)])

            await eventually(spend, within_s=MOVED_WITHIN_S, what="attempts by all")

        *beside, aside = await asyncio.gather(start(leader.url, *others), start(leader.url, *others), start(*others))
        await all_spend(*beside, aside)
        cut_off_s = asyncio.get_running_loop().time()
        with networks.cut_off(networks.hosts[cluster.nodes.index(leader)]):
            await asyncio.sleep(LEASE_S + 1)
            spent = [await attempts(service) for service in beside]
            await asyncio.sleep(1)
            assert [await attempts(service) for service in beside] == spent, "no lease any more"
            joined = await asyncio.gather(start(*others), start(*others))
            await all_spend(*joined, *beside)
            await asyncio.sleep(WATCHED_S)
            window = SlidingWindowMaximum(WATCHED_S)
            for receipt in target.receipts:
                if receipt.at_s >= cut_off_s:
                    window.add(receipt.at_s)
            assert window.maximum <= RATE_PER_S * WATCHED_S * 1.02 + 5


@pytest.mark.broker
@pytest.mark.timeout(300)
async def test_a_processor_obeys_orders_and_keeps_its_lease_when_a_node_vanishes(
    networks: Networks, cluster: Cluster, target: ScriptedTarget, flow: str, http: aiohttp.ClientSession
) -> None:
    """With one connection for overrides it sent nothing for 53 to 69 s, until it could read their stream elsewhere."""
    stream = overrides_queue(flow)
    first, *others = cluster.nodes
    async with Amqp(first.url) as amqp:
        await amqp.declare_flow(flow)
        await amqp.declare([overrides_spec(flow)])
        await amqp.publish(lane_queue(flow, Lane.LIVE), message("before"))
    leader = (
        f'{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"{stream}">>)), node(amqqueue:get_pid(Q))'
    )
    assert first.nodename in await asyncio.to_thread(first.evaluate, f"begin {leader} end")
    service = processor(cluster.url, flow=flow, target_url=target.url)

    async def publish(queue: str, body: bytes, properties: Basic.Properties | None = None) -> None:
        """Publish again and again until a broker confirms: a queue whose leader vanished first needs another one."""

        async def is_confirmed() -> bool:
            try:
                async with closing(await connect(others[-1].url, name="publisher")) as connection:
                    channel = await open_channel(connection, confirms=True)
                    publishing = channel.basic_publish(body, routing_key=queue, properties=properties)
                    await answered("publish", publishing, timeout_s=CONFIRMED_WITHIN_S)
            except BrokerUnavailableError:
                return False
            return True

        await eventually(is_confirmed, within_s=MOVED_WITHIN_S, what=f"a message that {queue} takes")

    async def order(overrides: Overrides) -> None:
        await publish(stream, encode_overrides(overrides))

    async with starting(http) as start:
        await start(service)
        await eventually(lambda: target.ids == {"before"}, what="an event, delivered")
        await eventually(lambda: readers(service) == 2, what="two readers")
        with networks.lost(networks.hosts[0]):
            await order(Overrides(is_paused=True))
            await eventually(
                lambda: bool(service.logged("flow.paused")), within_s=LOST_AFTER_S, what="the pause, obeyed"
            )
            after = message("after")
            await publish(lane_queue(flow, Lane.LIVE), after.body, after.properties)
            await order(Overrides())
            await eventually(lambda: "after" in target.ids, within_s=MOVED_WITHIN_S, what="an event, delivered")
            assert service.logged("control.lost") == []
            assert len(service.logged("control.found")) == 1, "the log goes back to the start"


@pytest.mark.broker
@pytest.mark.timeout(300)
async def test_the_share_of_a_lost_broker_goes_to_the_others(
    networks: Networks, cluster: Cluster, target: ScriptedTarget, flow: str, http: aiohttp.ClientSession
) -> None:
    """RabbitMQ counts the consumers of a lost broker until it is back, so half of the quota was unused until then."""
    live = lane_queue(flow, Lane.LIVE)
    lost, *others = cluster.nodes
    async with Amqp(lost.url) as amqp:
        await amqp.declare_flow(flow)
        messages = [message(str(number)) for number in range(EVENTS)]
        await asyncio.gather(*(amqp.publish(live, *messages[part::LINES]) for part in range(LINES)))

    def at(url: str) -> Service:
        return processor(
            url,
            flow=flow,
            target_url=target.url,
            TARGET__RATE_PER_S=str(RATE_PER_S),
            BROKER__MANAGEMENT_URL=others[0].management_url,
        )

    async def has_share(service: Service, *, of: int) -> None:
        async def has() -> bool:
            share_per_s = await service.metric(http, "eventflow_rate_share_units_per_second")
            return share_per_s == pytest.approx(RATE_PER_S / of)

        await eventually(has, within_s=MOVED_WITHIN_S, what=f"a share of 1/{of}")

    async with starting(http) as start:
        gone, staying = await start(at(lost.url)), await start(at(others[1].url))
        await has_share(staying, of=2)
        with networks.lost(networks.hosts[0]):
            gone.process.kill()
            await has_share(staying, of=1)
        joined = await start(at(others[1].url))
        await has_share(staying, of=2)
        await has_share(joined, of=2)
