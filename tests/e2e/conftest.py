"""The whole way: collector, broker, processor, target, all of them real."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass

import aiohttp
import pytest

from tests.support.services import API_KEY, Service, collector, processor
from tests.support.target import ScriptedTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A running flow from its collector to its target."""

    collector: Service
    processor: Service
    target: ScriptedTarget
    http: aiohttp.ClientSession

    async def send(self, event_id: str, body: bytes = b"{}", content_type: str = "application/json") -> None:
        """Post one event that must be accepted."""
        headers = {"X-Api-Key": API_KEY, "Idempotency-Key": event_id, "Content-Type": content_type}
        async with self.http.post(self.collector.url, data=body, headers=headers) as answer:
            assert answer.status == 202, await answer.text()
            assert (await answer.json())["id"] == event_id


@pytest.fixture
async def way(broker_url: str, flow: str, http: aiohttp.ClientSession) -> AsyncIterator[Callable[..., Awaitable[Way]]]:
    """Starts a flow with settings of the processor, and of the flow's source."""
    running: list[Service] = []
    async with ScriptedTarget() as target:

        async def start(source: Mapping[str, str] | None = None, *, preloaded: bool = True, **settings: str) -> Way:
            of_source = {f"FLOWS__{flow.upper()}__SOURCE__{name}": value for name, value in (source or {}).items()}
            taking = collector(broker_url, flow=flow, preloaded=preloaded, **of_source)
            giving = processor(broker_url, flow=flow, target_url=target.url, preloaded=preloaded, **settings)
            for service in (taking, giving):
                service.process.start()
                running.append(service)
            for service in (taking, giving):
                await service.ready(http)
            return Way(collector=taking, processor=giving, target=target, http=http)

        yield start
        for service in running:
            assert await asyncio.to_thread(service.process.stop) == 0, service.output
