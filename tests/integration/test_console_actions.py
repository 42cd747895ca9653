"""Pause, resume and rate from a console, with a real processor."""

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest

from eventflow.control.overrides import Overrides, encode_overrides
from eventflow.errors import InvalidInputError
from eventflow.operations.dead.selection import Selection
from eventflow.operations.overrides import read_overrides
from eventflow.operations.session import connected
from eventflow.operations.status.standing import Standing
from eventflow.topology import Lane, lane_queue, overrides_queue, overrides_spec
from eventflow_console.jobs import Job
from sandbox.broker.node import PrivateNode
from tests.support.amqp import Amqp
from tests.support.cli import bury, dead_letter, ids_in
from tests.support.console import ConsoleParts, console_parts
from tests.support.rights import add_user, set_rights
from tests.support.services import processor, starting
from tests.support.target import ScriptedTarget
from tests.support.wait import eventually


async def test_a_processor_obeys_and_each_action_is_on_record(
    broker_url: str, flow: str, http: aiohttp.ClientSession, target: ScriptedTarget
) -> None:
    async with starting(http) as start, console_parts(broker_url, flow) as console:
        await start(processor(broker_url, flow=flow, target_url=target.url, TARGET__RATE_PER_S="50"))

        async def stands(standing: Standing, limit_per_s: float) -> None:
            async def is_so() -> bool:
                found = (await console.state.fresh()).flows[flow]
                return (found.standing, found.rate.limit_per_s) == (standing, limit_per_s)

            await eventually(is_so, what=lambda: str(console.state.present.flows[flow]))

        await stands(Standing.FLOWING, 50.0)
        overrides = await console.actions.pause(flow, by="ann")
        assert (overrides.is_paused, overrides.paused_by) == (True, "ann")
        await stands(Standing.PAUSED, 50.0)
        found = console.state.present.flows[flow]
        assert (found.paused_by, found.is_paused) == ("ann", True)
        assert found.paused_at is not None
        await console.actions.set_rate(flow, 5.0, by="bob")
        await stands(Standing.PAUSED, 5.0)
        assert not (await console.actions.resume(flow, by="bob")).is_paused
        await stands(Standing.FLOWING, 5.0)
        await console.actions.set_rate(flow, None, by="bob")
        await stands(Standing.FLOWING, 50.0)
        acted = [(action.kind, action.by, action.flow, action.detail) for action in console.recorded]
        assert acted == [
            ("pause", "ann", flow, ""),
            ("rate", "bob", flow, "5/s"),
            ("resume", "bob", flow, ""),
            ("rate", "bob", flow, "as configured"),
        ]


async def test_changes_of_a_flow_at_the_same_moment_overwrite_nothing(broker_url: str, flow: str) -> None:
    """Otherwise a pause could be confirmed to its operator, and be ended at once by a change of the rate."""
    async with console_parts(broker_url, flow) as console:
        actions = console.actions
        await asyncio.gather(actions.pause(flow, by="ann"), actions.set_rate(flow, 5.0, by="bob"))
        async with connected([broker_url]) as link:
            overrides = await read_overrides(link, flow)
    assert (overrides.is_paused, overrides.paused_by, overrides.rate_per_s) == (True, "ann", 5.0)


@pytest.mark.parametrize("per_s", [0.0, -1.0, 1e-9, 1e7, float("nan"), float("inf")])
async def test_a_rate_that_no_flow_can_mean_is_refused(broker_url: str, flow: str, per_s: float) -> None:
    async with console_parts(broker_url, flow) as console:
        with pytest.raises(InvalidInputError, match=r"0\.000010 to 1000000 units"):
            await console.actions.set_rate(flow, per_s, by="ann")
        assert not console.recorded


async def test_the_shipped_rights_of_a_console_suffice(node: PrivateNode, flow: str) -> None:
    template = json.loads((Path(__file__).parents[2] / "deploy/rabbitmq/definitions.template.json").read_text())
    [shipped] = [rights for rights in template["permissions"] if rights["user"] == "console"]
    url = await add_user(node, f"u{flow}")
    await set_rights(node, f"u{flow}", (shipped["configure"], shipped["write"], shipped["read"]))
    async with Amqp(node.url) as amqp:
        await amqp.declare_flow(flow)
        await bury(amqp, flow, [dead_letter("a"), dead_letter("b")])
        async with console_parts(url, flow) as console:
            present = await console.state.fresh()
            assert (present.broker.is_up, present.unasked) == (True, None)
            assert (present.flows[flow].dead, present.flows[flow].is_paused) == (2, False)
            assert (await console.dead_letters.find(flow, "b")).letter is not None
            assert (await console.actions.pause(flow, by="ann")).is_paused
            job = await console.actions.replay(flow, Selection(ids=frozenset({"a"})), by="ann")
            await eventually(lambda: _state_of(console, job) != "running", what="the replay")
            assert _state_of(console, job) == "done"
        assert await ids_in(amqp, lane_queue(flow, Lane.REPLAY)) == ["a"]


def _state_of(console: ConsoleParts, job: Job) -> str | None:
    found = console.jobs.job(job.id)
    return None if found is None else found.state


async def test_overrides_that_cannot_be_read_are_replaced(broker_url: str, flow: str, amqp: Amqp) -> None:
    await amqp.declare([overrides_spec(flow)])
    await amqp.publish_raw({}, b"nonsense", queue=overrides_queue(flow))
    async with console_parts(broker_url, flow) as console:
        overrides = await console.actions.set_rate(flow, 3.0, by="ann")
        assert overrides == Overrides(rate_per_s=3.0)
        assert encode_overrides(overrides)
