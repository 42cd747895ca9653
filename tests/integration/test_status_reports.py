"""`eventflow status` beside real services: it is right in each state in which an operator asks."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aio_pika
import aiohttp
import pytest
from aiohttp import web

from eventflow.control.reporter import Reporter
from eventflow.control.reports import CollectorReport
from eventflow.tasks import cancel_and_wait
from eventflow.topology import Lane, lane_queue
from sandbox.broker.node import PrivateNode
from sandbox.ports import free_port
from tests.support.amqp import Amqp
from tests.support.cli import Command
from tests.support.nodes import close_all_connections, memory_alarm
from tests.support.rights import Rights, add_user, set_rights
from tests.support.services import API_KEY, collector, processor
from tests.support.target import Answer, Receipt, ScriptedTarget
from tests.support.wait import eventually

DELAYS = {"TARGET__RETRY_DELAYS_S": "600"}
NO_ADMIN = {"PROCESSOR__ADMIN_PORT": "9", "COLLECTOR__ADMIN_PORT": "9"}
"""The command reaches no admin port: it runs on another host."""

RATE = {"TARGET__RATE_PER_S": "50"}


@pytest.fixture
def eventflow(broker_url: str, flow: str) -> Command:
    return Command(broker_url=broker_url, flow=flow)


@pytest.fixture
async def seen(eventflow: Command, flow: str, amqp: Amqp) -> Callable[[], Awaitable[dict[str, Any]]]:
    await amqp.declare_flow(flow, (600.0,))

    async def look() -> dict[str, Any]:
        ended = await eventflow("status", "--json", **DELAYS, **NO_ADMIN)
        assert ended.status == 0, ended.stderr
        document = json.loads(ended.stdout)
        return {**document["flows"][flow], "services": document["services"], "spool": document["spool"]}

    return look


async def publish(amqp: Amqp, flow: str, events: int) -> None:
    await amqp.publish(lane_queue(flow, Lane.LIVE), *(aio_pika.Message(b"{}") for _ in range(events)))


async def until(look: Callable[[], Awaitable[dict[str, Any]]], **expected: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def has() -> bool:
        found.update(await look())
        return {name: found[name] for name in expected} == expected

    await eventually(has, within_s=30, what=lambda: f"{expected} in {found}")
    return found


async def test_a_paused_flow_with_12_events_shows_who_paused_it_and_never_drains(
    broker_url: str, flow: str, amqp: Amqp, http: aiohttp.ClientSession, eventflow: Command, seen: Any
) -> None:
    """It said "drains in 2 s", and then "drained" while a processor held all 12."""
    async with ScriptedTarget() as target:
        service = processor(broker_url, flow=flow, target_url=target.url, **DELAYS, **RATE)
        with service.process:
            await service.ready(http)
            paused = await eventflow("pause", flow, **DELAYS)
            assert paused.status == 0, paused.stderr
            await eventflow("rate", "set", flow, "5", **DELAYS)
            await publish(amqp, flow, 12)
            found = await until(seen, state="paused", waiting=12, held=12)
            assert (found["drain"]["eta_s"], found["flowing"], found["paused"]) == (None, False, True)
            assert found["paused_by"].count("@") == 1
            assert found["paused_at"].endswith("Z")
            assert (found["ordered_rate_per_s"], found["rate"]["configured_per_s"]) == (5.0, 50.0)
            assert [(s["kind"], s["ready"]) for s in found["services"]] == [("processor", True)]
            text = (await eventflow("status", "--flow", flow, **DELAYS, **NO_ADMIN)).stdout
            assert "12: 0 live, 0 due, 0 replay, 12 held" in text
            assert "5/s ordered, 50/s configured" in text
            assert f"by {found['paused_by']}" in text
            assert "never: paused" in text
            assert await service.metric(http, "eventflow_paused") == 1
            assert await service.metric(http, "eventflow_held_events") == 12
            assert await service.metric(http, "eventflow_drain_eta_seconds") == float("inf")
            state = (await service.readiness(http))["flows"][flow]
            assert (state["is_paused"], state["held"], state["eta_s"]) == (True, 12, None)
            await eventflow("resume", flow, **DELAYS)
            await until(seen, state="flowing", waiting=0, paused=False, paused_by=None)
            assert len(target.ids) == 12


async def test_a_pause_is_shown_without_any_processor(flow: str, amqp: Amqp, eventflow: Command, seen: Any) -> None:
    await publish(amqp, flow, 12)
    found = await seen()
    assert (found["state"], found["waiting"], found["held"], found["drain"]["eta_s"]) == ("no_processor", 12, 0, None)
    await eventflow("pause", flow, **DELAYS)
    found = await seen()
    assert (found["state"], found["paused"], found["drain"]["eta_s"]) == ("paused", True, None)


async def test_an_open_breaker_is_shown_with_its_reason(
    broker_url: str, flow: str, amqp: Amqp, http: aiohttp.ClientSession, eventflow: Command, seen: Any
) -> None:
    """It said "drained": all events were in the delay queue."""
    service = processor(broker_url, flow=flow, target_url=f"http://127.0.0.1:{free_port()}/", **DELAYS)
    with service.process:
        await service.ready(http)
        await publish(amqp, flow, 12)
        found = await until(seen, state="down")
        target = found["target"]
        assert (target["failure"]["reason"], target["failure"]["detail"]) == ("connection", "no_listener")
        assert found["drain"]["eta_s"] is None
        text = (await eventflow("status", "--flow", flow, **DELAYS, **NO_ADMIN)).stdout
        assert "no_listener: nothing listens on its port" in text


async def test_a_target_that_refuses_every_event_is_shown_with_its_words(
    broker_url: str, flow: str, amqp: Amqp, http: aiohttp.ClientSession, seen: Any
) -> None:
    async def refuse(_: Receipt) -> Answer:
        return web.Response(status=401, text="token revoked")

    async with ScriptedTarget(answer=refuse) as target:
        service = processor(broker_url, flow=flow, target_url=target.url, **DELAYS)
        with service.process:
            await service.ready(http)
            await publish(amqp, flow, 12)
            found = await until(seen, state="blocked")
            assert (found["target"]["status"], found["target"]["failure"]["text"]) == (401, "token revoked")
            assert found["drain"]["eta_s"] is None


async def test_a_throttled_flow_shows_for_how_long(
    broker_url: str, flow: str, amqp: Amqp, http: aiohttp.ClientSession, seen: Any
) -> None:
    async def refuse(_: Receipt) -> Answer:
        return web.Response(status=429, headers={"Retry-After": "40"})

    async with ScriptedTarget(answer=refuse) as target:
        service = processor(broker_url, flow=flow, target_url=target.url, **DELAYS, **RATE)
        with service.process:
            await service.ready(http)
            await publish(amqp, flow, 3)
            found = await until(seen, state="throttled", waiting=3)
            assert 10 < found["throttled_s"] <= 40
            assert found["drain"]["eta_s"] is None or found["drain"]["eta_s"] >= found["throttled_s"]


async def test_events_of_a_killed_processor_wait_and_never_drain(
    broker_url: str, flow: str, amqp: Amqp, http: aiohttp.ClientSession, eventflow: Command, seen: Any
) -> None:
    async with ScriptedTarget() as target:
        service = processor(broker_url, flow=flow, target_url=target.url, **DELAYS)
        with service.process:
            await service.ready(http)
            await eventflow("pause", flow, **DELAYS)
            await publish(amqp, flow, 12)
            await until(seen, waiting=12, held=12)
            await eventflow("resume", flow, **DELAYS)
            service.process.kill()
        found = await until(seen, state="no_processor", processors=0, services=[])
        assert found["drain"]["eta_s"] is None


async def test_a_frozen_processor_is_counted_as_silent_and_its_events_as_unknown(
    broker_url: str, flow: str, amqp: Amqp, http: aiohttp.ClientSession, eventflow: Command, seen: Any
) -> None:
    async with ScriptedTarget() as target:
        frozen = processor(broker_url, flow=flow, target_url=target.url, **DELAYS, **RATE)
        healthy = processor(broker_url, flow=flow, target_url=target.url, **DELAYS, **RATE)
        with frozen.process, healthy.process:
            await asyncio.gather(frozen.ready(http), healthy.ready(http))
            await until(seen, processors=2, silent_processors=0)
            frozen.process.pause()
            try:
                found = await until(seen, processors=2, silent_processors=1)
                assert (found["held"], found["waiting"]) == (None, None)
                assert len(found["services"]) == 1
                text = (await eventflow("status", "--flow", flow, **DELAYS, **NO_ADMIN)).stdout
                assert "1 of 2 processors did not answer" in text
            finally:
                frozen.process.resume()


async def test_each_worker_of_a_collector_reports(
    broker_url: str, flow: str, http: aiohttp.ClientSession, seen: Any
) -> None:
    service = collector(broker_url, flow=flow, COLLECTOR__WORKERS="2")
    with service.process:
        await service.ready(http)

        async def are_both_there() -> bool:
            return [(s["kind"], s["ready"]) for s in (await seen())["services"]] == [("collector", True)] * 2

        await eventually(are_both_there, what=lambda: service.output)


async def test_a_collector_reports_its_spool_over_the_broker(
    node: PrivateNode, flow: str, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """The command saw a spool only on the collector's own host."""
    user_url = await add_user(node, f"u{flow}")
    rights: Rights = tuple(_shipped_rights("collector"))  # type: ignore[assignment]  # three texts
    await set_rights(node, f"u{flow}", rights)
    async with Amqp(node.url) as amqp:
        await amqp.declare_flow(flow)
    service = collector(user_url, flow=flow, COLLECTOR__SPOOL_DIR=str(tmp_path))
    command = Command(broker_url=node.url, flow=flow)
    with service.process:
        await service.ready(http)
        document = await _once_there(command, lambda found: bool(found["services"]))
        [shown] = document["services"]
        assert (shown["kind"], shown["ready"], document["spool"]["events"]) == ("collector", True, 0)
        assert not service.logged("broker.right_missing")
        assert not service.logged("control.refused")
        # Without the right to publish events, they go to the spool; the right to report remains.
        await set_rights(node, f"u{flow}", (rights[0], rights[1].replace("amq[.]default|", ""), rights[2]))
        await close_all_connections(node, "new rights")
        await eventually(lambda: bool(service.logged("broker.right_missing")), what=lambda: service.output)
        async with http.post(service.url, data=b"{}", headers={"X-Api-Key": API_KEY}) as answer:
            assert answer.status == 202
        document = await _once_there(command, lambda found: (found["spool"] or {}).get("events") == 1)
        [shown] = document["services"]
        assert (shown["ready"], shown["notes"]) == (False, ["broker refused", "spool spooling, 1 events"])
        text = (await command("status", **NO_ADMIN)).stdout
        assert "In the spool: 1 events" in text


async def test_a_collector_without_the_right_to_report_works_as_before(
    node: PrivateNode, flow: str, http: aiohttp.ClientSession
) -> None:
    """The rights of an older installation."""
    url = await add_user(node, f"u{flow}")
    await set_rights(node, f"u{flow}", ("^eventflow[.][^.]+[.](events|due|replay|dead)$", "^amq[.]default$", "^$"))
    async with Amqp(node.url) as amqp:
        await amqp.declare_flow(flow)
    service = collector(url, flow=flow)
    with service.process:
        await service.ready(http)
        await eventually(lambda: bool(service.logged("control.refused")), what=lambda: service.output)
        async with http.post(service.url, data=b"{}", headers={"X-Api-Key": API_KEY}) as answer:
            assert answer.status == 202
        assert not service.logged("broker.right_missing")


async def test_during_an_alarm_the_counts_are_shown_and_the_rest_is_unknown(
    node: PrivateNode, flow: str, http: aiohttp.ClientSession
) -> None:
    """Nobody can be asked then, because the broker accepts no message."""
    async with Amqp(node.url) as amqp:
        await amqp.declare_flow(flow)
        await publish(amqp, flow, 3)
    command = Command(broker_url=node.url, flow=flow)
    async with memory_alarm(node):
        document = await _once_there(command, lambda found: found["unasked"] is not None)
    assert "alarm" in document["unasked"]
    assert document["flows"][flow]["backlog"]["live"] == 3


async def test_a_bug_in_the_reports_of_a_collector_does_not_end_it(
    broker_url: str, flow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("eventflow.control.reporter.declare_fanout", broken)
    errors: list[Exception] = []
    reporter = Reporter(
        [broker_url], flows=[flow], instance=flow, report=lambda _: CollectorReport(), on_error=errors.append
    )
    running = asyncio.create_task(reporter.run())

    async def is_noted() -> bool:
        return bool(errors)

    await eventually(is_noted, what="the error")
    assert [type(error) for error in errors] == [ZeroDivisionError]
    assert not running.done()
    await cancel_and_wait(running)


def _shipped_rights(user: str) -> list[str]:
    template = json.loads((Path(__file__).parents[2] / "deploy/rabbitmq/definitions.template.json").read_text())
    [rights] = [rights for rights in template["permissions"] if rights["user"] == user]
    return [rights[right] for right in ("configure", "write", "read")]


async def _once_there(command: Command, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    document: dict[str, Any] = {}

    async def is_there() -> bool:
        ended = await command("status", "--json", **NO_ADMIN)
        document.update(json.loads(ended.stdout) if ended.status == 0 else {})
        return bool(document) and holds(document)

    await eventually(is_there, within_s=40, what=lambda: f"the status, and not {document}")
    return document
