"""Names of targets, looked up by a real processor at a name server of ours."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from eventflow.topology import Lane, lane_queue
from sandbox.ports import free_port
from tests.integration.test_processor import message
from tests.support.amqp import Amqp
from tests.support.dns import NameServer, NoNameServerError
from tests.support.means import cannot
from tests.support.running_time import running_s
from tests.support.services import processor
from tests.support.target import ScriptedTarget
from tests.support.wait import eventually

CLIENTS = ["lean", "aiohttp"]
SILENT = tuple(f"silent{number}.test" for number in range(4))
EVENTS = 25


@pytest.fixture
async def names(tmp_path: Path) -> AsyncIterator[NameServer]:
    try:
        async with NameServer(tmp_path, addresses={"target.test": ["127.0.0.1"]}) as server:
            yield server
    except NoNameServerError as error:
        cannot(str(error))


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.timed
async def test_silent_names_of_other_flows_delay_neither_a_healthy_flow_nor_the_end(
    broker_url: str, flow: str, amqp: Amqp, http: aiohttp.ClientSession, names: NameServer, client: str
) -> None:
    """nodejs/node#8436. Reproduced on 0.1.0: 0 of 25 events delivered, and SIGTERM took 16 s."""
    names.silent |= set(SILENT)
    silent_flows = {f"{flow}s{number}": name for number, name in enumerate(SILENT)}
    others = {
        f"FLOWS__{name.upper()}__TARGET__{setting}": value
        for name, host in silent_flows.items()
        for setting, value in {
            "URL": f"http://{host}/",
            "TIMEOUT_S": "1.5",
            "RETRY_DELAYS_S": "0.2,0.5",
            "CLIENT": client,
        }.items()
    }
    for name in (flow, *silent_flows):
        await amqp.declare_flow(name, (0.2, 0.5))
    async with ScriptedTarget() as target:
        target.answer = lambda _: web.Response(headers={"Connection": "close"})  # each event needs the address
        url = target.url.replace("127.0.0.1", "target.test")
        service = processor(
            broker_url, flow=flow, target_url=url, prefix=names.seen_by, TARGET__CLIENT=client, **others
        )
        with service.process:
            await service.ready(http)
            for name in silent_flows:
                await amqp.publish(lane_queue(name, Lane.LIVE), message(f"of-{name}"))
            await eventually(lambda: all(names.asked[name] for name in SILENT), what="all silent names asked for")
            ids = {f"{number}-{flow}" for number in range(EVENTS)}
            await amqp.publish(lane_queue(flow, Lane.LIVE), *(message(event_id) for event_id in sorted(ids)))
            await eventually(lambda: target.ids == ids, within_s=4, what=lambda: f"{len(target.ids)} of {EVENTS}")
            began_s = running_s()
            assert await asyncio.to_thread(service.process.stop, 20) == 0, service.output
            assert running_s() - began_s < 5
            assert not service.tracebacks


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_target_that_moves_is_found_at_once_and_one_that_stays_is_reached_while_no_name_is_answered(
    broker_url: str, flow: str, amqp: Amqp, http: aiohttp.ClientSession, names: NameServer, client: str
) -> None:
    """An address where nothing listens is asked for anew, and serves on if no name server answers."""
    await amqp.declare_flow(flow, (0.2, 0.5))
    queue = lane_queue(flow, Lane.LIVE)
    port = free_port()
    service = processor(
        broker_url, flow=flow, target_url=f"http://target.test:{port}/", prefix=names.seen_by, TARGET__CLIENT=client
    )
    with service.process:
        await service.ready(http)
        async with ScriptedTarget(port=port) as target:
            await amqp.publish(queue, message("first"))
            await eventually(lambda: "first" in target.ids, what="the first event")
        async with ScriptedTarget(host="127.0.0.2", port=port) as target:
            names.addresses["target.test"] = ["127.0.0.2"]
            await amqp.publish(queue, message("second"))
            await eventually(lambda: "second" in target.ids, within_s=5, what="the event at the new address")
        names.is_silent = True
        asked = names.asked["target.test"]
        await amqp.publish(queue, message("third"))
        await eventually(lambda: names.asked["target.test"] > asked, what="the name asked for in vain")
        async with ScriptedTarget(host="127.0.0.2", port=port) as target:
            await eventually(lambda: "third" in target.ids, within_s=8, what="the event at the address as it was")
        assert not service.tracebacks
