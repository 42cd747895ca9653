"""A flow whose own queues lose their majority, while those of the other flow on its connection work."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from eventflow.amqp import channel, trials
from eventflow.amqp.connection import closing, connect
from eventflow.amqp.queues import declare_queues
from eventflow.amqp.shared import SharedConnection
from eventflow.topology import Lane, flow_specs, lane_queue, lease_queue
from sandbox.broker.cluster import Cluster
from sandbox.broker.node import NodeError, PrivateNode
from tests.integration.test_shared_connection import Consuming, consuming
from tests.support.amqp import Amqp
from tests.support.means import cannot
from tests.support.wait import eventually

ANSWER_MAX_S = 3
NET_TICK_S = 1
"""RabbitMQ gives a request that no majority answers 5 s more than this, and then closes its connection. Its session has
ended before, as with the usual values of 10 s and at least 15 s."""

TRIALS = 4
"""After so many, the connection had ended at least twice before there were trials."""


@pytest.fixture(autouse=True)
def short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "TRIAL_PAUSE_S", 1.0)


@pytest.fixture(scope="module")
def cluster(node_directory: Path) -> Iterator[Cluster]:
    try:
        made = Cluster(node_directory)
    except NodeError as error:
        cannot(f"no nodes of our own: {error}")
    with made:
        yield made


@asynccontextmanager
async def stopped(node: PrivateNode, queues: Sequence[str]) -> AsyncIterator[None]:
    """Let the only member of each queue be down while the context is open; RabbitMQ refuses its consumers at once."""

    async def each(action: str) -> None:
        members = [f'{{list_to_atom("%2F_{queue}"), node()}}' for queue in queues]
        done = await asyncio.to_thread(
            node.evaluate, f"[ok = ra:{action}_server(quorum_queues, Member) || Member <- [{', '.join(members)}]]"
        )
        assert done.count("ok") == len(queues)

    await each("stop")
    try:
        yield
    finally:
        await each("restart")


async def until_trials_have_failed(lost: Consuming, other: Consuming, *, interruptions: int) -> None:
    """Wait for several failed trials of one flow, and check that the other one consumes meanwhile."""

    def trials_in(logs: Sequence[Mapping[str, object]]) -> int:
        return sum(each.get("connection") == f"{lost.flow} trial" for each in logs)

    with capture_logs() as logs:
        await eventually(
            lambda: trials_in(logs) >= TRIALS or other.notes.joins > interruptions + 1,
            within_s=60,
            what="trials",
        )
    assert other.notes.joins == interruptions + 1
    assert other.consumer.is_consuming
    assert not lost.consumer.is_consuming


async def until_both_consume(amqp: Amqp, lost: Consuming, other: Consuming) -> None:
    joins = other.notes.joins
    await eventually(lambda: lost.consumer.is_consuming, what="the end of the trials")
    for each in (lost, other):
        await amqp.publish(lane_queue(each.flow, Lane.LIVE), *amqp.messages(1))
    await eventually(lambda: lost.sink.deliveries and other.sink.deliveries, what="events of both")
    assert other.notes.joins == joins


@pytest.mark.parametrize(
    ("parts", "interruptions"),
    [
        pytest.param("lease", 1, id="a check that is refused ends the connection once"),
        pytest.param("lanes", 0, id="lost lanes are found by a trial"),
        pytest.param("all", 1, id="all queues"),
    ],
)
async def test_a_flow_whose_queues_are_down_does_not_end_the_connection_of_another_again_and_again(
    node: PrivateNode, flow: str, parts: str, interruptions: int
) -> None:
    """Before trials, the connection ended every second, and the other flow never had the time to consume."""
    shared = SharedConnection([node.url], name="shared")
    async with consuming(node.url, shared, f"{flow}a", f"{flow}b") as (other, lost), Amqp(node.url) as amqp:
        queues = {
            "lease": [lease_queue(lost.flow)],
            "lanes": [lane_queue(lost.flow, lane) for lane in Lane],
            "all": [spec.name for spec in flow_specs(lost.flow, (1,))],
        }
        async with stopped(node, queues[parts]):
            await until_trials_have_failed(lost, other, interruptions=interruptions)
        await until_both_consume(amqp, lost, other)


@pytest.mark.broker
@pytest.mark.timeout(300)
async def test_a_flow_without_a_majority_waits_for_it_apart_from_the_others(
    cluster: Cluster, flow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection ends once, for the request that found the loss; before trials, it ended again and again."""
    monkeypatch.setattr(channel, "RPC_TIMEOUT_S", ANSWER_MAX_S)
    first, second, third = cluster.nodes
    # For the requests only: the nodes have read their own value at their start.
    await asyncio.to_thread(first.evaluate, f"application:set_env(kernel, net_ticktime, {NET_TICK_S})")
    flows = f"{flow}a", f"{flow}b"
    async with closing(await connect(first.url, name="declare")) as connection:
        for each in flows:
            await declare_queues(connection, flow_specs(each, (1,)))
    for spec in flow_specs(flows[1], (1,)):
        remove = f'rabbit_quorum_queue:delete_member(<<"/">>, <<"{spec.name}">>, \'{third.nodename}\')'
        assert await asyncio.to_thread(first.evaluate, remove) == "ok"
    shared = SharedConnection([first.url], name="shared")
    async with consuming(first.url, shared, *flows) as (other, lost), Amqp(first.url) as amqp:
        await asyncio.to_thread(second.kill)
        try:
            await until_trials_have_failed(lost, other, interruptions=1)
        finally:
            await asyncio.to_thread(second.start)
        await until_both_consume(amqp, lost, other)
