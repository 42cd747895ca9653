"""Name servers that stop answering: they must delay only the deliveries that need them."""

import asyncio
import tempfile
from pathlib import Path

from aiohttp import web

from eventflow.topology import Lane, lane_queue
from tests.chaos.scenario import Scenario
from tests.chaos.world import World
from tests.support.amqp import Amqp
from tests.support.dns import NameServer, NoNameServerError
from tests.support.services import processor
from tests.support.target import ScriptedTarget
from tests.support.wait import eventually

SILENT = tuple(f"silent{number}.test" for number in range(4))
"""As many as uvloop has threads for lookups."""

OTHERS_ADDRESS = "127.0.0.2"
SILENCE_S = 13
"""Longer than an address stays in the cache."""

END_MAX_S = 6


async def names_fall_silent(world: World) -> None:
    """The names of four other flows are silent first, then all names, and the processor is restarted meanwhile."""
    await world.accepts(200)
    with tempfile.TemporaryDirectory(prefix="eventflow-chaos-") as directory:
        try:
            async with NameServer(Path(directory), addresses={"target.test": ["127.0.0.1"]}) as names:
                await _fall_silent(world, names)
        except NoNameServerError as error:
            world.remarks.append(f"not run: {error}")


async def _fall_silent(world: World, names: NameServer) -> None:
    names.silent |= set(SILENT)
    world.target.answer = lambda _: web.Response(headers={"Connection": "close"})  # each event needs the address
    async with ScriptedTarget(host=OTHERS_ADDRESS) as others, world.amqp() as amqp:
        await world.terminate(world.processor)
        flows = {f"{world.flow}s{number}": name for number, name in enumerate(SILENT)}
        await _serve_by_name(world, names, flows, port=int(others.url.split(":")[2].split("/")[0]))
        try:
            await _publish(amqp, flows)
            await eventually(lambda: all(names.asked[name] for name in SILENT), what="all silent names asked for")
            await world.delivers(1000, within_s=20)
            names.is_silent = True
            delivered = len(world.target.taken)
            await asyncio.sleep(SILENCE_S)
            in_silence = len(world.target.taken) - delivered
            assert in_silence > SILENCE_S * 50, f"only {in_silence} events delivered in {SILENCE_S} s of silence"
            began_s = world.now_s
            await world.terminate(world.processor)
            ended_s = world.now_s - began_s
            assert ended_s < END_MAX_S, f"the shutdown took {ended_s:.1f} s"
            await world.start(world.processor)
            await world.pause(3, 5)
            names.is_silent = False
            names.silent.clear()
            names.addresses |= {name: [OTHERS_ADDRESS] for name in SILENT}
            await world.delivers(500)
            await eventually(lambda: len(others.ids) == len(flows), within_s=90, what="the events of the silent flows")
        except BaseException:
            world.processor.process.kill()
            raise
    world.remarks.append(
        f"{in_silence} events delivered in {SILENCE_S} s of silence; the shutdown in it took {ended_s:.1f} s"
    )


async def _serve_by_name(world: World, names: NameServer, flows: dict[str, str], *, port: int) -> None:
    """Restart the processor with a name in the target of the loaded flow, and with `flows`: their names by flow."""
    delays = world.retry_delays
    others = {
        f"FLOWS__{flow.upper()}__TARGET__{setting}": value
        for flow, name in flows.items()
        for setting, value in {"URL": f"http://{name}:{port}/", "TIMEOUT_S": "2", "RETRY_DELAYS_S": delays}.items()
    }
    world.processor = processor(
        world.living_url,
        flow=world.flow,
        target_url=world.target.url.replace("127.0.0.1", "target.test"),
        TARGET__RETRY_DELAYS_S=delays,
        prefix=names.seen_by,
        **others,
    )
    await world.start(world.processor)


async def _publish(amqp: Amqp, flows: dict[str, str]) -> None:
    for flow in flows:
        (event,) = amqp.messages(1)
        event.message_id = f"of-{flow}"
        await amqp.publish(lane_queue(flow, Lane.LIVE), event)


SCENARIOS = (
    Scenario(
        entry="",
        name="silent DNS: the names of four flows, then all, and a restart in it",
        fault=names_fall_silent,
        at_least=4000,
    ),
)
