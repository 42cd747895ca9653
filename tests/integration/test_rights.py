"""A user with half of the rights: nothing is taken that could not be passed on, and the log has the way out."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest

from eventflow.amqp import channel
from eventflow.amqp.publisher import Publisher
from eventflow.tasks import cancel_and_wait
from eventflow.topology import RIGHTS, Lane, ingest_specs, lane_queue
from sandbox.broker.node import PrivateNode
from tests.support.amqp import Amqp
from tests.support.cli import Command
from tests.support.nodes import close_all_connections, memory_alarm
from tests.support.rights import Rights, add_user, add_vhost, forbid_connections, queues_of, set_rights
from tests.support.services import API_KEY, Service, collector, processor
from tests.support.target import ScriptedTarget
from tests.support.wait import eventually

Obstacle = Callable[[PrivateNode, str, str], Awaitable[None]]
NO_DEFAULT_EXCHANGE: Rights = (".*", "^eventflow[.]", ".*")
NO_CONTROL: Rights = (".*", "^amq[.]default$", ".*")


@pytest.fixture
def user() -> str:
    return f"u{secrets.token_hex(4)}"


async def grant(node: PrivateNode, user: str, rights: Rights) -> str:
    """Give a user rights, and make it if there is none; return its URL."""
    url = await add_user(node, user)
    await set_rights(node, user, rights)
    return url


def refusals(service: Service) -> list[dict[str, str]]:
    return service.logged("broker.right_missing")


@pytest.mark.parametrize("rights", [NO_DEFAULT_EXCHANGE, NO_CONTROL], ids=["default exchange", "control exchange"])
async def test_a_processor_that_may_not_publish_takes_no_event_until_it_may(
    node: PrivateNode, user: str, flow: str, target: ScriptedTarget, http: aiohttp.ClientSession, rights: Rights
) -> None:
    """Stands for aio-pika#525. Reproduced on 0.1.0: beside a healthy one it held 50 of 100 events for ever."""
    async with Amqp(node.url) as amqp:
        await amqp.declare_flow(flow)
        limited = processor(await grant(node, user, rights), flow=flow, target_url=target.url)
        healthy = processor(node.url, flow=flow, target_url=target.url)
        with limited.process, healthy.process:
            await healthy.ready(http)
            await eventually(lambda: bool(refusals(limited)), what=lambda: limited.output)
            await amqp.publish(lane_queue(flow, Lane.LIVE), *amqp.messages(100))
            await eventually(lambda: len(target.ids) == 100, what="all events, by the one that can work")
            assert await amqp.consumers(lane_queue(flow, Lane.LIVE)) == 1
            assert (await limited.readiness(http))["publisher"] == "refused"
            (line,) = refusals(limited)
            assert "ACCESS_REFUSED" in line["reason"]
            assert line["advice"].startswith(f"rabbitmqctl set_permissions -p / {user} ")
            await grant(node, user, RIGHTS)
            await limited.ready(http)
            assert await amqp.consumers(lane_queue(flow, Lane.LIVE)) == 2


async def test_a_processor_that_loses_its_rights_holds_no_event_any_more(
    node: PrivateNode, user: str, flow: str, target: ScriptedTarget, http: aiohttp.ClientSession
) -> None:
    async with Amqp(node.url) as amqp:
        await amqp.declare_flow(flow)
        limited = processor(await grant(node, user, RIGHTS), flow=flow, target_url=target.url, TARGET__RATE_PER_S="1")

        async def held() -> float:
            return await limited.metric(http, "eventflow_held_events")

        with limited.process:
            await limited.ready(http)
            await amqp.publish(lane_queue(flow, Lane.LIVE), *amqp.messages(50))
            await eventually(lambda: bool(target.ids), what="an event at the target")
            assert await held() > 0
            await grant(node, user, NO_DEFAULT_EXCHANGE)
            await close_all_connections(node, "the rights have changed")
            await eventually(lambda: bool(refusals(limited)), what=lambda: limited.output)
            assert await held() == 0


async def test_a_processor_that_may_not_read_the_lease_takes_no_event(
    node: PrivateNode, user: str, flow: str, target: ScriptedTarget
) -> None:
    """Reproduced on 0.1.0: it took events each second and returned them."""
    async with Amqp(node.url) as amqp:
        await amqp.declare_flow(flow)
        await amqp.publish(lane_queue(flow, Lane.LIVE), *amqp.messages(10))
        rights = (".*", ".*", rf"^eventflow[.](control|{flow}[.](runtime|events|due|replay))")
        limited = processor(await grant(node, user, rights), flow=flow, target_url=target.url)
        with limited.process:
            await eventually(lambda: bool(refusals(limited)), what=lambda: limited.output)
            assert f"eventflow.{flow}.lease" in refusals(limited)[0]["reason"]
            assert await amqp.depth(lane_queue(flow, Lane.LIVE)) == 10
        (first, *_) = await amqp.drain(lane_queue(flow, Lane.LIVE))
        assert not first.redelivered


@pytest.mark.parametrize("has_spool", [True, False])
async def test_a_collector_that_may_not_publish_says_so_once_and_is_not_ready(
    node: PrivateNode, user: str, flow: str, http: aiohttp.ClientSession, tmp_path: Path, has_spool: bool
) -> None:
    """Stands for op-rabbit#91. Reproduced on 0.1.0: it spooled for ever, was ready, and never gave the reason."""
    async with Amqp(node.url) as amqp:
        await amqp.declare_flow(flow)
    settings = {"COLLECTOR__CONFIRM_TIMEOUT_S": "2"} | ({"COLLECTOR__SPOOL_DIR": str(tmp_path)} if has_spool else {})
    service = collector(await grant(node, user, NO_DEFAULT_EXCHANGE), flow=flow, **settings)
    with service.process:
        await eventually(lambda: bool(refusals(service)), what=lambda: service.output)
        state = await service.readiness(http)
        assert (state["status"], state["broker"]) == (503, "refused")
        async with http.post(service.url, data=b"{}", headers={"X-Api-Key": API_KEY}) as answer:
            assert answer.status == (202 if has_spool else 503)
        (line,) = refusals(service)
        assert "amq.default" in line["reason"]
        await grant(node, user, RIGHTS)
        await service.ready(http)
        assert len(refusals(service)) == 1


async def test_a_collector_that_may_not_declare_waits_for_a_processor_that_does(
    node: PrivateNode, user: str, flow: str, target: ScriptedTarget, http: aiohttp.ClientSession
) -> None:
    """As in Compose, where the collector's own user may read nothing, and so declare no lane."""
    rights = ("^eventflow[.][^.]+[.](events|due|replay|dead)$", "^amq[.]default$", "^$")
    service = collector(await grant(node, user, rights), flow=flow)
    with service.process:
        await eventually(lambda: f"there is no eventflow.{flow}.events" in service.output, what=lambda: service.output)
        declaring = processor(node.url, flow=flow, target_url=target.url)
        with declaring.process:
            await service.ready(http)
        assert not refusals(service)


@pytest.mark.parametrize(
    ("rights", "missing"),
    [
        (NO_DEFAULT_EXCHANGE, "amq.default"),
        (NO_CONTROL, "eventflow.control"),
        (("^eventflow[.]", ".*", "^eventflow[.]control"), "events"),
        (("^eventflow[.][^c]", ".*", ".*"), "eventflow.control"),
        (RIGHTS, ""),
    ],
)
async def test_check_tries_what_the_services_need(
    node: PrivateNode, user: str, flow: str, target: ScriptedTarget, rights: Rights, missing: str
) -> None:
    """Stands for op-rabbit#91. Reproduced on 0.1.0: `check` ended with 0."""
    async with Amqp(node.url) as amqp:
        await amqp.declare_flow(flow)
        async with amqp.connection.channel() as channel:
            await channel.declare_exchange("eventflow.control", "fanout", durable=True)
        await amqp.publish(lane_queue(flow, Lane.LIVE), *amqp.messages(1))
        command = Command(broker_url=await grant(node, user, rights), flow=flow)
        ended = await command("check", TARGET__URL=target.url)
        assert ("set_permissions" in ended.stdout) == bool(missing), ended.stdout
        assert missing in ended.stdout
        assert ended.status == (1 if missing else 0), ended.stdout
        (message,) = await amqp.drain(lane_queue(flow, Lane.LIVE))
        assert not message.redelivered


async def test_a_processor_that_starts_during_an_alarm_works_off_what_caused_it(
    node: PrivateNode, flow: str, target: ScriptedTarget, http: aiohttp.ClientSession
) -> None:
    """No proof that it may publish can be had then, and the alarm may last until the backlog is gone."""
    async with Amqp(node.url) as amqp:
        await amqp.declare_flow(flow)
        await amqp.publish(lane_queue(flow, Lane.LIVE), *amqp.messages(10))
        service = processor(node.url, flow=flow, target_url=target.url)
        async with memory_alarm(node):
            with service.process:
                await service.ready(http)
                assert (await service.readiness(http))["publisher"] == "blocked"
                await eventually(lambda: len(target.ids) == 10, what=lambda: service.output)


async def test_a_publisher_that_connects_during_an_alarm_keeps_its_connection(
    node: PrivateNode, flow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found in review: the broker may take the proof and stop reading then; the session ended at it every 10 s."""
    monkeypatch.setattr(channel, "RPC_TIMEOUT_S", 0.5)
    async with memory_alarm(node):
        publisher = Publisher([node.url], specs=ingest_specs(flow), name="test")
        running = asyncio.create_task(publisher.run())
        try:
            await eventually(lambda: publisher.state == "blocked", what="the alarm")
            with pytest.raises(AssertionError):
                await eventually(
                    lambda: publisher.state != "blocked", within_s=4 * channel.RPC_TIMEOUT_S, what="an end"
                )
        finally:
            await cancel_and_wait(running)


async def no_virtual_host(node: PrivateNode, user: str, vhost: str) -> None:
    """Do nothing: there is none."""


async def no_access(node: PrivateNode, user: str, vhost: str) -> None:
    await add_vhost(node, vhost)


async def limit_of_the_virtual_host(node: PrivateNode, user: str, vhost: str) -> None:
    await add_vhost(node, vhost)
    await set_rights(node, user, RIGHTS, vhost=vhost)
    await forbid_connections(node, vhost=vhost)


async def limit_of_the_user(node: PrivateNode, user: str, vhost: str) -> None:
    await add_vhost(node, vhost)
    await set_rights(node, user, RIGHTS, vhost=vhost)
    await forbid_connections(node, user=user)


async def wrong_password(node: PrivateNode, user: str, vhost: str) -> None:
    await add_user(node, user, password="another")


LIMIT_OF_VHOST = "NOT_ALLOWED - access to vhost '{vhost}' refused for user '{user}': connection limit (0) is reached"


@pytest.mark.parametrize(
    ("obstacle", "words"),
    [
        (no_virtual_host, "NOT_ALLOWED - vhost {vhost} not found"),
        (no_access, "NOT_ALLOWED - access to vhost '{vhost}' refused for user '{user}'"),
        (limit_of_the_virtual_host, LIMIT_OF_VHOST),
        (limit_of_the_user, "user connection limit (0) is reached"),
        (wrong_password, "ACCESS_REFUSED - Login was refused"),
    ],
)
async def test_the_log_has_the_brokers_own_words_for_not_letting_us_in(
    node: PrivateNode, user: str, flow: str, obstacle: Obstacle, words: str
) -> None:
    """Stands for aiorabbit#7, aio-pika#584. Reproduced on 0.1.0: the log had "Expected one of ['Connection.OpenOk'],
    got <Connection.Close object at 0x...>".
    """
    vhost = f"v{user}"
    url = await grant(node, user, RIGHTS)
    await obstacle(node, user, vhost)
    service = collector(url.removesuffix("/") + f"/{vhost}", flow=flow)
    with service.process:
        await eventually(lambda: "broker.connection_failed" in service.output, what=lambda: service.output)
        assert words.format(vhost=vhost, user=user) in service.output
        assert "object at 0x" not in service.output


async def test_a_broker_that_shuts_down_is_quoted(node: PrivateNode, flow: str, http: aiohttp.ClientSession) -> None:
    service = collector(node.url, flow=flow)
    with service.process:
        await service.ready(http)
        await close_all_connections(node, "maintenance at noon")
        await eventually(lambda: "broker.session_ended" in service.output, what=lambda: service.output)
        assert "CONNECTION_FORCED - maintenance at noon" in service.output


@pytest.mark.parametrize("vhost", ["a%2Fb", "50%", "..", "a/b"])
async def test_a_virtual_host_may_have_any_name(
    node: PrivateNode, flow: str, http: aiohttp.ClientSession, vhost: str
) -> None:
    """Reproduced on 0.1.0: for `a%252Fb` the virtual host `a/b` was asked for, and for `%2E%2E` none."""
    # Not over the management API: in a URL, `..` has a meaning of its own.
    name, user, all_names, setter = (f'<<"{text}">>' for text in (vhost, "guest", ".*", "a test"))
    patterns = ", ".join([all_names] * 3)
    made = f"rabbit_vhost:add({name}, {setter})"
    granted = f"rabbit_auth_backend_internal:set_permissions({user}, {name}, {patterns}, {setter})"
    await asyncio.to_thread(node.evaluate, f"{made}, {granted}")
    encoded = quote(vhost, safe="").replace(".", "%2E")
    service = collector(node.url.removesuffix("/") + f"/{encoded}", flow=flow)
    with service.process:
        await service.ready(http)
        assert f"eventflow.{flow}.events" in await queues_of(node, vhost)
