"""The rights that deploy/ gives to the console: enough for its work, and too few to read an event that waits."""

import json
import secrets
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiormq.exceptions import ChannelAccessRefused

from eventflow.topology import Lane, lane_queue
from sandbox.broker.node import PrivateNode
from tests.support.amqp import Amqp
from tests.support.cli import bury, dead_letter
from tests.support.rights import add_user, set_rights
from tests.support.services import console, processor, starting
from tests.support.target import ScriptedTarget
from tests.support.wait import eventually

TEMPLATE = Path(__file__).parents[2] / "deploy" / "rabbitmq" / "definitions.template.json"


@pytest.fixture
async def console_url(node: PrivateNode) -> str:
    """The broker's URL for a user with the rights of the console."""
    user = f"u{secrets.token_hex(4)}"
    url = await add_user(node, user)
    (given,) = (one for one in json.loads(TEMPLATE.read_text())["permissions"] if one["user"] == "console")
    await set_rights(node, user, (given["configure"], given["write"], given["read"]))
    return url


async def test_the_console_can_see_and_steer_a_flow_and_replay_its_dead_letters(
    node: PrivateNode, console_url: str, flow: str, target: ScriptedTarget, http: aiohttp.ClientSession
) -> None:
    async with starting(http) as start, Amqp(node.url) as amqp:
        await start(processor(node.url, flow=flow, target_url=target.url))
        service = await start(console(console_url, flow=flow))
        await bury(amqp, flow, [dead_letter("dead-1")])

        async def state() -> Any:
            async with http.get(f"{service.url}/api/v1/flows") as answer:
                return (await answer.json())["flows"][flow]

        async def order(name: str, **members: Any) -> None:
            async with http.post(f"{service.url}/api/v1/{name}", json={"flow": flow, **members}) as answer:
                assert answer.status in {200, 202}, await answer.text()

        async def is_complete() -> bool:
            seen = await state()
            return seen["dead"] == 1 and len(seen["processors"]) == 1

        await eventually(is_complete, what="the dead letter and the processor in the state of the flow")
        await order("pause")
        await order("rate", rate_per_s=5)
        await order("resume")
        await order("replay", ids=["dead-1"])
        await eventually(lambda: "dead-1" in target.ids, what="the replayed event at the target")


@pytest.mark.parametrize("lane", Lane)
async def test_the_console_can_read_no_event_that_waits(
    node: PrivateNode, console_url: str, flow: str, lane: Lane
) -> None:
    async with Amqp(node.url) as owner, Amqp(console_url) as limited:
        await owner.declare_flow(flow)
        with pytest.raises(ChannelAccessRefused):
            await limited.drain(lane_queue(flow, lane))
