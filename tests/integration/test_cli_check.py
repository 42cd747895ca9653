"""Behaviour that all commands of `eventflow` have in common, and the readiness of services in `eventflow check`."""

import json
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from sandbox.ports import free_port
from tests.support.amqp import Amqp
from tests.support.cli import Command
from tests.support.services import Service, collector, processor, starting
from tests.support.target import ScriptedTarget
from tests.support.wait import eventually


@pytest.fixture
async def eventflow(broker_url: str, flow: str, amqp: Amqp) -> Command:
    await amqp.declare_flow(flow)
    return Command(broker_url=broker_url, flow=flow)


def admin_port(service: Service) -> str:
    return str(urlsplit(service.admin_url).port)


async def findings(eventflow: Command, *arguments: str, **settings: str) -> dict[str, dict[str, str]]:
    ended = await eventflow("check", "--json", *arguments, **settings)
    return {finding["checked"]: finding for finding in json.loads(ended.stdout)["findings"]}


async def test_check_asks_the_services_whether_they_are_ready(
    eventflow: Command, broker_url: str, flow: str, http: aiohttp.ClientSession
) -> None:
    async with ScriptedTarget() as target, starting(http) as start:
        taking = await start(collector(broker_url, flow=flow))
        giving = await start(processor(broker_url, flow=flow, target_url=target.url))
        ports = {"COLLECTOR__ADMIN_PORT": admin_port(taking), "PROCESSOR__ADMIN_PORT": admin_port(giving)}
        found = await findings(eventflow, TARGET__URL=target.url, **ports)
        for service in ("collector", "processor"):
            finding = found[f"{service} at 127.0.0.1:{ports[f'{service.upper()}__ADMIN_PORT']}"]
            assert finding["verdict"] == "ok", finding
            assert finding["found"].startswith("ready")
        assert found[f"queue eventflow.{flow}.events"]["found"] == "0 ready, 1 consumers"
        assert f"flow {flow}" not in found
        await eventflow("pause")

        async def pause_is_found() -> bool:
            finding = (await findings(eventflow, TARGET__URL=target.url, **ports)).get(f"flow {flow}")
            return finding is not None and (finding["verdict"], finding["found"][:9]) == ("warning", "paused by")

        await eventually(pause_is_found, what="the pause in the findings")
        ports["PROCESSOR__ADMIN_PORT"] = str(free_port())
        found = await findings(eventflow, TARGET__URL=target.url, **ports)
        assert found[f"processor at 127.0.0.1:{ports['PROCESSOR__ADMIN_PORT']}"]["verdict"] == "unknown"


async def test_one_flow_is_named_in_the_same_way_everywhere(eventflow: Command, flow: str) -> None:
    another = {"FLOWS__ANOTHER__TARGET__RATE_PER_S": "7"}

    async def document(*arguments: str) -> Any:
        ended = await eventflow(*arguments, "--json", **another)
        assert ended.status in {0, 1}, ended.stderr
        return json.loads(ended.stdout)

    assert set((await document("status"))["flows"]) == {flow, "another"}
    assert list((await document("status", "--flow", flow))["flows"]) == [flow]
    assert list((await document("rate", "show", "--flow", flow))["flows"]) == [flow]
    assert list((await document("rate", "show", flow))["flows"]) == [flow]
    queues = (await document("topology", "--dry-run", "--flow", "another"))["queues"]
    assert all(queue["name"].startswith("eventflow.another.") for queue in queues)
    checked = [finding["checked"] for finding in (await document("check", "--flow", flow))["findings"]]
    assert not [subject for subject in checked if "another" in subject]
    for command in (("pause", "--flow", flow), ("rate", "set", "5", "--flow", flow), ("rate", "set", flow, "5")):
        changed = await document(*command)
        assert (changed["flow"], changed["paused"]) == (flow, True)
    assert (await document("resume", flow))["paused"] is False
    assert (await document("rate", "show", "--flow", flow))["flows"][flow]["override_per_s"] == 5
    assert (await document("dead", "count", "--flow", flow))["flow"] == flow


@pytest.mark.parametrize("command", [("pause",), ("rate", "set", "5"), ("dead", "count"), ("why", "ID")])
async def test_a_command_for_one_flow_asks_for_its_name_if_there_are_several(
    eventflow: Command, command: tuple[str, ...]
) -> None:
    ended = await eventflow(*command, FLOWS__ANOTHER__TARGET__RATE_PER_S="7")
    assert (ended.status, ended.stdout) == (2, "")
    assert "Invalid value for --flow: name one of:" in ended.stderr
