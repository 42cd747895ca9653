"""What the services tell in their metrics: asked on their admin ports."""

from collections.abc import Sequence

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from eventflow.network.listener import reachable_hosts

TIMEOUT_S = 2.0


async def samples_of(host: str, port: int) -> list[Sample] | None:
    """Ask a service that listens on `host` for its metrics; None where it does not answer from here."""
    for place in reachable_hosts(host):
        if (samples := await _asked(f"[{place}]" if ":" in place else place, port)) is not None:
            return samples
    return None


async def _asked(host: str, port: int) -> list[Sample] | None:
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S), trust_env=False) as client,
            client.get(f"http://{host}:{port}/metrics") as answer,
        ):
            return parsed(await answer.text())
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return None


def parsed(exposition: str) -> list[Sample]:
    """Read the Prometheus text format.

    Raises:
        ValueError: It is not that.
    """
    return [sample for family in text_string_to_metric_families(exposition) for sample in family.samples]


def values_by_flow(samples: Sequence[Sample], name: str) -> dict[str, float]:
    """Return the values of a metric that has one for each flow."""
    return {sample.labels["flow"]: sample.value for sample in samples if sample.name == name}
