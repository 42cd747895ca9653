"""`eventflow status`, `check` and `topology` as real processes against a real broker."""

import asyncio
import json
import os
import signal

import aio_pika
import pytest

from eventflow.service.lifecycle import EXIT_CONFIGURATION
from eventflow.topology import (
    Lane,
    QueueSpec,
    dead_queue,
    flow_specs,
    lane_queue,
    lane_specs,
    overrides_spec,
    retry_queue,
)
from sandbox.ports import free_port
from tests.support.amqp import Amqp
from tests.support.cli import Command
from tests.support.target import ScriptedTarget


@pytest.fixture
def eventflow(broker_url: str, flow: str) -> Command:
    return Command(broker_url=broker_url, flow=flow)


async def test_status_counts_what_waits_where(eventflow: Command, flow: str, amqp: Amqp) -> None:
    await amqp.declare_flow(flow, (0.2, 600.0, 3600.0))
    events = [aio_pika.Message(b"{}")] * 6
    await amqp.publish(lane_queue(flow, Lane.LIVE), *events[:1])
    await amqp.publish(lane_queue(flow, Lane.DUE), *events[:2])
    await amqp.publish(lane_queue(flow, Lane.REPLAY), *events[:3])
    await amqp.publish(dead_queue(flow), *events[:4])
    await amqp.publish(retry_queue(flow, 3600), *events[:5])
    await amqp.publish(retry_queue(flow, 600), *events[:6])
    ended = await eventflow("status", "--json", TARGET__RETRY_DELAYS_S="0.2,3600")
    found = json.loads(ended.stdout)["flows"][flow]
    expected = {
        "state": "no_processor",
        "backlog": {"live": 1, "due": 2, "replay": 3},
        "held": 0,
        "waiting": 6,
        "retries": [
            {"delay_s": 0.2, "events": 0, "configured": True},
            {"delay_s": 600.0, "events": 6, "configured": False},
            {"delay_s": 3600.0, "events": 5, "configured": True},
        ],
        "dead": 4,
        "processors": 0,
        "drain": {"eta_s": None, "arrival_per_s": None, "departure_per_s": None},
    }
    assert {name: found[name] for name in expected} == expected
    shown = await eventflow("status", "--flow", flow, TARGET__RETRY_DELAYS_S="0.2,3600")
    assert [" ".join(line.split()) for line in shown.stdout.splitlines()[:4]] == [
        f"{flow} no processor",
        "waiting 6: 1 live, 2 due, 3 replay, 0 held",
        "delayed 6 in 600 s (old), 5 in 3600 s",
        "dead 4",
    ]


async def test_status_of_queues_that_do_not_exist_creates_none(eventflow: Command, flow: str, amqp: Amqp) -> None:
    counts = json.loads((await eventflow("status", "--json")).stdout)["flows"][flow]
    assert (counts["backlog"], counts["dead"]) == ({"live": None, "due": None, "replay": None}, None)
    with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
        await amqp.depth(dead_queue(flow))


async def test_watching_ends_well_with_ctrl_c(eventflow: Command, flow: str) -> None:
    screen, terminal = os.openpty()
    try:
        process = await eventflow.start("status", "--watch", stdout=terminal)
        shown = b""
        async with asyncio.timeout(20):
            while flow.encode() not in shown:
                shown += await asyncio.to_thread(os.read, screen, 4096)
        process.send_signal(signal.SIGINT)
        _, stderr = await process.communicate()
        assert (process.returncode, stderr) == (0, b"")
    finally:
        os.close(screen)
        os.close(terminal)


@pytest.mark.parametrize("command", [("status",), ("status", "--watch"), ("dead", "list"), ("topology",)])
async def test_a_broker_that_is_not_there_is_one_clear_line(flow: str, command: tuple[str, ...]) -> None:
    ended = await Command(broker_url=f"amqp://user:secret@127.0.0.1:{free_port()}/", flow=flow)(*command)
    assert ended.status == 1
    assert ended.stderr.startswith("error: cannot connect to amqp://user:***@127.0.0.1:")
    assert len(ended.stderr.splitlines()) == 1
    assert "secret" not in ended.stderr


async def test_a_wrong_setting_is_one_clear_line(eventflow: Command) -> None:
    ended = await eventflow("status", TARGET__COST="many")
    assert ended.status == EXIT_CONFIGURATION
    assert "TARGET__COST = 'many'" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


async def test_an_unknown_flow_is_wrong_usage(eventflow: Command) -> None:
    assert (await eventflow("status", "--flow", "nobody")).status == 2


async def test_check_is_content_with_what_topology_has_declared(eventflow: Command, flow: str) -> None:
    async with ScriptedTarget() as target:
        before = await eventflow("check", TARGET__URL=target.url)
        queues = [*flow_specs(flow, (0.2, 0.5)), overrides_spec(flow)]
        assert (before.status, before.stdout.count("not declared yet")) == (0, len(queues))
        declared = await eventflow("topology")
        assert declared.status == 0
        assert f"x-dead-letter-routing-key={dead_queue(flow)}" in declared.stdout
        after = await eventflow("check", TARGET__URL=target.url)
    assert after.status == 0, after.stdout
    assert "warning" not in after.stdout
    assert "problem" not in after.stdout
    assert target.receipts == []


async def test_check_finds_a_queue_with_other_arguments_and_an_unreachable_target(
    eventflow: Command, flow: str, amqp: Amqp
) -> None:
    wrong = lane_specs(flow)[0]
    await amqp.declare([QueueSpec(name=wrong.name, arguments={"x-queue-type": "quorum"})])
    url = f"http://127.0.0.1:{free_port()}/secret-path"
    ended = await eventflow("check", TARGET__URL=url)
    assert ended.status == 1
    problems = [line for line in ended.stdout.splitlines() if line.startswith("problem")]
    assert [wrong.name in problems[0], "Connection refused" in problems[1], len(problems)] == [True, True, 2]
    assert "secret-path" not in ended.stdout
    topology = await eventflow("topology")
    assert topology.status == 1
    assert topology.stderr.startswith(f"error: queue {wrong.name} exists with other arguments")
    assert len(topology.stderr.splitlines()) == 1


async def test_check_shows_retry_queues_of_older_settings(eventflow: Command, flow: str, amqp: Amqp) -> None:
    await amqp.declare_flow(flow, (0.2, 0.5, 120.0))
    async with ScriptedTarget() as target:
        ended = await eventflow("check", TARGET__URL=target.url)
    line = next(line for line in ended.stdout.splitlines() if retry_queue(flow, 120.0) in line)
    assert line.startswith("warning")
    assert "delete it" in line
    assert ended.status == 0


async def test_a_dry_run_declares_nothing(eventflow: Command, flow: str, amqp: Amqp) -> None:
    assert "would be declared" in (await eventflow("topology", "--dry-run")).stdout
    with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
        await amqp.depth(dead_queue(flow))
