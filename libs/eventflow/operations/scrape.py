"""Scrape the metrics of a service on its admin port."""

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from eventflow.network.host import host_and_port
from eventflow.network.listener import reachable_hosts

TIMEOUT_S = 2.0


async def samples_of(host: str, port: int) -> list[Sample] | None:
    """Return the metrics of a service that listens on `host`, or None if it cannot be reached from here."""
    for reachable in reachable_hosts(host):
        if (samples := await _scraped(host_and_port(reachable, port))) is not None:
            return samples
    return None


async def _scraped(place: str) -> list[Sample] | None:
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S), trust_env=False) as client,
            client.get(f"http://{place}/metrics") as answer,
        ):
            return parsed(await answer.text())
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return None


def parsed(exposition: str) -> list[Sample]:
    """Parse the Prometheus text format.

    Raises:
        ValueError: The text is not in that format.
    """
    return [sample for family in text_string_to_metric_families(exposition) for sample in family.samples]
