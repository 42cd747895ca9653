"""Policies of the broker that delete what was accepted: kept away, or seen and reported.

Reports: cloudify-manager-install#478 (message-ttl on everything), abd-vro#3327 (max-length on a dead queue),
laravel-queue-rabbitmq#627 and rabbitmq-server#10962 (expires on queues that wait). Reproduced on 0.1.0 with a policy on
`.*`: message-ttl 3000 sent 56 of 120 events through the dead queue to nothing, max-length 10 dropped 30 of 40 dead
letters, expires 8000 deleted the dead queue and the retry queues, and nothing was logged.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aio_pika
import aiohttp
import pytest

from eventflow.topology import Lane, QueueSpec, dead_queue, dead_spec, lane_queue, overrides_spec, retry_queue
from sandbox.broker.node import PrivateNode
from sandbox.ports import free_port
from tests.support.amqp import Amqp
from tests.support.cli import Command
from tests.support.management import STRANGERS, serving
from tests.support.nodes import running_node
from tests.support.policies import Policies, policies_on
from tests.support.services import API_KEY, Service, collector, processor
from tests.support.target import ScriptedTarget
from tests.support.wait import eventually

PERSISTENT = aio_pika.DeliveryMode.PERSISTENT


@pytest.fixture(scope="module")
def node(node_directory: Path) -> Iterator[PrivateNode]:
    """A node of this module alone: its policies concern all queues, and other modules leave hundreds behind."""
    with running_node(node_directory) as own:
        yield own


@pytest.fixture
def broker_url(node: PrivateNode) -> str:
    """A node of our own: a policy on everything would meet the queues of every other test."""
    return node.url


@pytest.fixture
async def policies(node: PrivateNode, http: aiohttp.ClientSession) -> AsyncIterator[Policies]:
    async with policies_on(node, http) as made:
        yield made


@pytest.fixture
def eventflow(node: PrivateNode, flow: str) -> Command:
    return Command(broker_url=node.url, flow=flow)


def events(count: int) -> list[aio_pika.Message]:
    return [aio_pika.Message(b"{}", message_id=f"p-{number}", delivery_mode=PERSISTENT) for number in range(count)]


async def refused(amqp: Amqp, queue: str, count: int) -> int:
    """Publish and return how many the broker refused."""
    refusals = 0
    for event in events(count):
        try:
            await amqp.publish(queue, event)
        except aio_pika.exceptions.DeliveryError:
            refusals += 1
    return refusals


@asynccontextmanager
async def running(service: Service, http: aiohttp.ClientSession) -> AsyncIterator[Service]:
    service.process.start()
    try:
        await service.ready(http)
        yield service
    finally:
        await asyncio.to_thread(service.process.stop, 20)


async def details(service: Service, http: aiohttp.ClientSession) -> Any:
    async with http.get(f"{service.admin_url}/readyz") as answer:
        return (await answer.json())["policies"]


async def until(service: Service, condition: Callable[[], Awaitable[bool]]) -> None:
    await eventually(condition, within_s=30, what=lambda: f"it to be seen\n{service.output}")


# A policy of ours keeps those of others away


async def test_with_ours_applied_no_policy_of_others_deletes_anything(
    node: PrivateNode, policies: Policies, eventflow: Command, flow: str, amqp: Amqp
) -> None:
    await amqp.declare_flow(flow, (600.0,))
    await amqp.declare([overrides_spec(flow), QueueSpec(name=f"{flow}.witness", arguments={"x-queue-type": "quorum"})])
    applied = await eventflow("check", "--apply-policy", BROKER__MANAGEMENT_URL=node.management_url)
    assert "eventflow, eventflow-streams set" in applied.stdout
    await policies.set({"message-ttl": 500, "max-length": 3, "expires": 1500, "delivery-limit": 1}, priority=1000)
    queues = [lane_queue(flow, Lane.LIVE), dead_queue(flow), retry_queue(flow, 600.0)]
    for queue in queues:
        assert await refused(amqp, queue, 10) == 0

    async def witnessed() -> bool:
        try:
            return await amqp.depth(f"{flow}.witness") < 0
        except aio_pika.exceptions.ChannelNotFoundEntity:
            return True

    await eventually(witnessed, within_s=20, what="a queue that is not ours to expire by that policy")
    assert [await amqp.depth(queue) for queue in queues] == [10, 10, 10]


async def test_the_dead_queue_refuses_what_an_operator_policy_has_no_room_for_and_drops_nothing(
    policies: Policies, flow: str, amqp: Amqp
) -> None:
    await amqp.declare([dead_spec(flow)])
    await policies.shield()
    await policies.set({"max-length": 5}, operator=True)

    async def refuses() -> bool:
        return await refused(amqp, dead_queue(flow), 1) == 1

    await eventually(refuses, what="a publish refused")
    kept = await amqp.depth(dead_queue(flow))
    await refused(amqp, dead_queue(flow), 20)
    bodies = {message.message_id for message in await amqp.drain(dead_queue(flow))}
    assert kept >= 5
    assert "p-0" in bodies


async def test_a_dead_letter_that_finds_no_room_stays_where_it_was(
    node: PrivateNode, policies: Policies, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    """abd-vro#3327: at max-length 10, 30 of 40 poison events were dropped from the dead queue."""
    await policies.shield()
    await policies.set({"max-length": 5}, operator=True, pattern=rf"{flow}[.]dead$")
    async with ScriptedTarget() as target:
        target.answer = lambda _: 422
        giving = processor(
            node.url, flow=flow, target_url=target.url, TARGET__MAX_ATTEMPTS="1", PROCESSOR__DRAIN_TIMEOUT_S="1"
        )
        async with running(giving, http):
            await amqp.publish(lane_queue(flow, Lane.LIVE), *events(20))

            async def full() -> bool:
                return await amqp.depth(dead_queue(flow)) >= 5 and len(target.receipts) >= 20

            await eventually(full, within_s=30, what="the dead queue full and every event attempted")

    async def all_there() -> bool:
        lanes = [await amqp.depth(lane_queue(flow, lane)) for lane in Lane]
        return sum(lanes) + await amqp.depth(dead_queue(flow)) >= 20

    await eventually(all_there, what="every event in the dead queue or still in its lane")


# Without it they are seen and reported


async def test_check_names_policy_queue_and_value(
    node: PrivateNode, policies: Policies, eventflow: Command, flow: str, amqp: Amqp
) -> None:
    await amqp.declare_flow(flow)
    limits = {"message-ttl": 3_600_000, "expires": 3_600_001, "max-length": 10**6, "max-length-bytes": 10**9}
    await policies.set({**limits, "overflow": "drop-head", "delivery-limit": 20})
    wanted = [*(f"{key} = {value}" for key, value in limits.items()), "overflow = 'drop-head'", "delivery-limit = 20"]

    async def seen() -> bool:
        ended = await eventflow("check", BROKER__MANAGEMENT_URL=node.management_url)
        # The table may break a line before the queue's name, and then the next column stands between.
        text = " ".join(ended.stdout.replace("eventflow check --apply-policy", "").split())
        return ended.status == 1 and all(f"policy 'theirs' sets {one} on {dead_queue(flow)}" in text for one in wanted)

    await eventually(seen, within_s=40, what="check to name each")


async def test_a_processor_reports_a_policy_that_deletes(
    node: PrivateNode, policies: Policies, eventflow: Command, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    await amqp.declare_flow(flow)
    await policies.shield()
    await policies.set({"message-ttl": 3_600_000}, operator=True)
    async with ScriptedTarget() as target:
        giving = processor(node.url, flow=flow, target_url=target.url, BROKER__MANAGEMENT_URL=node.management_url)
        async with running(giving, http):

            async def seen() -> bool:
                text = f"operator policy 'theirs' sets message-ttl = 3600000 on {dead_queue(flow)}"
                return text in (await details(giving, http))["dangerous"]

            await until(giving, seen)
            assert (await details(giving, http))["unseen"] is None
            assert await giving.readyz(http) == 200
            assert await giving.metric(http, "eventflow_dangerous_policies") >= 6
            assert await giving.metric(http, "eventflow_policies_seen") == 1
            lines = [json.loads(line) for line in giving.output.splitlines() if "policy.dangerous" in line]
            line = next(line for line in lines if line["queue"] == dead_queue(flow))
            assert (line["level"], line["key"], line["value"]) == ("error", "message-ttl", "3600000")
            port = giving.admin_url.rsplit(":", 1)[1]
            status = await eventflow("status", PROCESSOR__ADMIN_PORT=port)
            assert f"flow {flow}: policies of the broker can delete events" in status.stdout


async def test_a_user_without_the_right_is_shown_the_command(
    node: PrivateNode, policies: Policies, eventflow: Command, flow: str, amqp: Amqp
) -> None:
    await amqp.declare_flow(flow)
    await policies.add_user("looker", "look pass", tags="management")
    url = node.management_url.replace("http://", "http://looker:look%20pass@")
    ended = await eventflow("check", "--apply-policy", BROKER__MANAGEMENT_URL=url)
    assert ended.status == 1
    assert "rabbitmqctl set_policy -p '/' eventflow '^eventflow[.]'" in " ".join(ended.stdout.split())
    assert "look pass" not in ended.stdout + ended.stderr
    assert "look%20pass" not in ended.stdout + ended.stderr


# A management API that is not one


async def test_check_reports_that_the_url_is_not_set_or_nothing_listens_there(eventflow: Command) -> None:
    unset = await eventflow("check")
    assert "not checked: EVENTFLOW_BROKER__MANAGEMENT_URL is not set" in unset.stdout
    away = await eventflow("check", BROKER__MANAGEMENT_URL=f"http://127.0.0.1:{free_port()}")
    assert "not checked: Cannot connect" in away.stdout


@pytest.mark.parametrize("kind", ["silence", "endless"])
async def test_a_strange_management_api_costs_a_processor_a_line_and_no_event(
    node: PrivateNode, flow: str, amqp: Amqp, http: aiohttp.ClientSession, kind: str
) -> None:
    async with serving(STRANGERS[kind].answer) as url, ScriptedTarget() as target:
        giving = processor(node.url, flow=flow, target_url=target.url, BROKER__MANAGEMENT_URL=url)
        async with running(giving, http):
            await amqp.publish(lane_queue(flow, Lane.LIVE), *events(50))
            await eventually(lambda: len(target.taken) == 50, what="every event delivered")

            async def looked() -> bool:
                return (await details(giving, http))["unseen"] != "not yet"

            await until(giving, looked)
            assert await giving.readyz(http) == 200


# A queue that vanishes


async def test_a_queue_that_vanishes_is_an_error_and_counted_once_in_each_process(
    node: PrivateNode, eventflow: Command, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    """Reproduced on 0.1.0: a queue that was deleted was declared again, and no line named it."""
    async with ScriptedTarget() as target:
        giving = processor(node.url, flow=flow, target_url=target.url)
        async with running(giving, http):
            for number, queue in enumerate((dead_queue(flow), retry_queue(flow, 0.2), lane_queue(flow, Lane.LIVE)), 1):
                await amqp.delete(queue)

                async def logged(queue: str = queue) -> bool:  # a line of a pipe comes later than an answer
                    return any("queue.vanished" in line and queue in line for line in giving.output.splitlines())

                await giving.counts(http, "eventflow_queues_vanished_total", number, within_s=30)
                await until(giving, logged)
            await giving.ready(http)
            port = giving.admin_url.rsplit(":", 1)[1]
            status = await eventflow("status", PROCESSOR__ADMIN_PORT=port)
            assert f"flow {flow}: queues vanished, with all events in them: 3" in status.stdout


async def test_a_lane_that_vanishes_is_noticed_before_others_can_have_declared_it_again(
    node: PrivateNode, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    """A session begins 1 s after the last one. A look only then could find a queue that another client made."""
    async with ScriptedTarget() as target:
        giving = processor(node.url, flow=flow, target_url=target.url)
        async with running(giving, http):
            await amqp.delete(lane_queue(flow, Lane.DUE))

            async def ended() -> bool:
                return "broker.session_ended" in giving.output

            await until(giving, ended)
            named = [json.loads(line)["event"] for line in giving.output.splitlines()]
            assert named.index("queue.vanished") < named.index("broker.session_ended")


async def test_a_collector_reports_the_queue_that_its_events_do_not_reach(
    node: PrivateNode, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    taking = collector(node.url, flow=flow)
    async with running(taking, http):
        await amqp.delete(lane_queue(flow, Lane.LIVE))
        async with http.post(taking.url, data=b"{}", headers={"X-Api-Key": API_KEY}) as answer:
            assert answer.status == 503
        await taking.counts(http, "eventflow_queues_vanished_total", 1, within_s=30)
        # A line of a pipe comes later than an answer.
        await eventually(lambda: "queue.vanished" in taking.output, what="the line in the log")


# What the broker gave up


async def test_what_the_broker_gave_up_is_shown_and_counted_as_that(
    policies: Policies, eventflow: Command, flow: str, amqp: Amqp
) -> None:
    """cloudify-manager-install#478: events expired in a lane were dead letters of an unknown reason."""
    await amqp.declare_flow(flow)
    live = lane_queue(flow, Lane.LIVE)
    await policies.set({"message-ttl": 100}, pattern=rf"{flow}[.]events$")
    await amqp.publish(live, *events(2))

    async def expired() -> bool:
        return await amqp.depth(dead_queue(flow)) == 2

    await eventually(expired, what="two events expired into the dead queue")
    await policies.clear()
    await policies.set({"delivery-limit": 1}, pattern=rf"{flow}[.]events$")
    await amqp.publish(live, aio_pika.Message(b"{}", message_id="redelivered", delivery_mode=PERSISTENT))
    await _return_until_given_up(amqp, live)
    listed = await eventflow("dead", "list")
    assert listed.stdout.count("expired (RabbitMQ)") == 2
    assert listed.stdout.count("delivery_limit (RabbitMQ)") == 1
    shown = await eventflow("dead", "show", "p-0")
    assert f"RabbitMQ in {live}" in " ".join(shown.stdout.split())
    counted = [line.split() for line in (await eventflow("dead", "count")).stdout.splitlines()]
    assert ["expired", "(RabbitMQ)", "2"] in counted
    assert ["delivery_limit", "(RabbitMQ)", "1"] in counted
    exported = [json.loads(line) for line in (await eventflow("dead", "export")).stdout.splitlines()]
    assert sorted(record["reason"] for record in exported) == ["delivery_limit", "expired", "expired"]


async def _return_until_given_up(amqp: Amqp, queue: str) -> None:
    async with amqp.connection.channel() as channel:
        source = await channel.declare_queue(queue, passive=True)

        async def given_up() -> bool:
            message = await source.get(fail=False)
            if message is not None:
                await message.nack(requeue=True)
            return message is None and await amqp.depth(queue) == 0

        await eventually(given_up, what="the event given up by the broker")
