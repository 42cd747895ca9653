"""Several flows of one configuration: what happens to one is nothing to the others."""

import asyncio
import logging
import statistics
import time

import aiohttp
import pytest

from sandbox.ports import free_port
from tests.support.services import API_KEY, collector, processor
from tests.support.target import ScriptedTarget
from tests.support.wait import eventually

pytestmark = pytest.mark.timed

SENT = 40
EVERY_S = 0.05
FLOOD_CONNECTIONS = 8

log = logging.getLogger(__name__)  # `--log-cli-level=info` shows the figures


async def test_a_flooded_flow_with_a_dead_target_does_not_slow_the_others(
    broker_url: str, flow: str, http: aiohttp.ClientSession
) -> None:
    bad = f"{flow}-bad"
    taking = collector(
        broker_url,
        flow=flow,
        **{f"FLOWS__{bad.upper()}__SOURCE__API_KEYS": API_KEY, "COLLECTOR__CONFIRM_TIMEOUT_S": "10"},
    )
    async with ScriptedTarget() as target:
        giving = processor(
            broker_url,
            flow=flow,
            target_url=target.url,
            TARGET__RATE_PER_S="100",
            **{
                f"FLOWS__{bad.upper()}__TARGET__URL": f"http://127.0.0.1:{free_port()}/nobody",
                f"FLOWS__{bad.upper()}__TARGET__RETRY_DELAYS_S": "0.2,0.5",
            },
        )
        with taking.process, giving.process:
            await taking.ready(http)
            await giving.ready(http)

            async def latencies_s(prefix: str, count: int = SENT) -> list[float]:
                """Send steadily, and return how long each event took to its target."""
                sent_at_s = {}
                for number in range(count):
                    event_id = f"{prefix}-{number}"
                    sent_at_s[event_id] = time.monotonic()
                    headers = {"X-Api-Key": API_KEY, "Idempotency-Key": event_id}
                    async with http.post(taking.url, data=b"{}", headers=headers) as answer:
                        assert answer.status == 202
                    await asyncio.sleep(EVERY_S)  # a steady sender, not a wait
                await eventually(lambda: sent_at_s.keys() <= target.ids, what="all events at the target")
                return [target.of(event_id)[0].at_s - at_s for event_id, at_s in sent_at_s.items()]

            async def flood() -> None:
                url = taking.url.replace(flow, bad)
                while True:
                    async with http.post(url, data=b"x" * 1000, headers={"X-Api-Key": API_KEY}) as answer:
                        assert answer.status == 202
                    floods["sent"] += 1

            floods = {"sent": 0}
            await latencies_s("warm-up", 5)
            calm_s = await latencies_s("calm")
            flooding = [asyncio.create_task(flood()) for _ in range(FLOOD_CONNECTIONS)]
            try:
                await eventually(lambda: floods["sent"] > 200, what="a flood")
                beside_s = await latencies_s("beside")
            finally:
                for task in flooding:
                    task.cancel()
                await asyncio.gather(*flooding, return_exceptions=True)
            opened = await giving.metric(http, "eventflow_breaker_open")
    figures = {
        "calm_median_s": round(statistics.median(calm_s), 4),
        "beside_median_s": round(statistics.median(beside_s), 4),
        "beside_max_s": round(max(beside_s), 4),
        "flood_events": floods["sent"],
    }
    log.info("%s", figures)
    assert opened == 1, "the flooded flow's target is known to be dead"
    assert figures["flood_events"] > 5 * SENT
    assert statistics.median(beside_s) < statistics.median(calm_s) + 0.1, figures
    assert max(beside_s) < 1.0, figures
