"""A flow from its collector to its target, with a history and a console."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.support.services import API_KEY, Service, collector, console, processor, starting
from tests.support.target import ScriptedTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A running flow.

    Attributes:
        origin: Scheme, host and port of the console.
    """

    flow: str
    collector: Service
    processor: Service
    target: ScriptedTarget
    http: aiohttp.ClientSession
    origin: str

    async def send(self, event_id: str, body: bytes = b'{"name": "hello"}', **headers: str) -> None:
        """Post an event that must be accepted.

        Args:
            headers: Further headers; an underscore stands for a hyphen.
        """
        given = {"X-Api-Key": API_KEY, "Idempotency-Key": event_id, "Content-Type": "application/json"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.post(self.collector.url, data=body, headers=given) as answer:
            assert answer.status == 202, await answer.text()

    async def send_all(self, *event_ids: str) -> None:
        """Post events at once."""
        await asyncio.gather(*(self.send(event_id) for event_id in event_ids))


@asynccontextmanager
async def running_world(
    broker_url: str, *, flow: str, directory: Path, http: aiohttp.ClientSession, **settings: str
) -> AsyncIterator[World]:
    """Run a flow with a history in a file, and its console, which also knows a flow that does not run.

    Args:
        directory: For the file.
        settings: Those of the flow's target, without their prefix, for processor and console.
    """
    history = {"HISTORY__URL": f"sqlite:///{directory / 'history.db'}", "HISTORY__FLUSH_S": "0.05"}
    of_target = {f"TARGET__{name}": value for name, value in settings.items()}
    async with ScriptedTarget() as target, starting(http) as start:
        common = {**history, **of_target}
        accepting = await start(collector(broker_url, flow=flow))
        delivering = await start(processor(broker_url, flow=flow, target_url=target.url, **common))
        # A console of one flow shows no list of flows.
        other = {f"FLOWS__{flow.upper()}_OTHER__TARGET__URL": target.url}
        showing = await start(console(broker_url, flow=flow, **{"TARGET__URL": target.url, **common, **other}))
        yield World(flow=flow, collector=accepting, processor=delivering, target=target, http=http, origin=showing.url)
