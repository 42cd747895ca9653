"""What the collector keeps on its own disk, as its metrics tell it: asked for there, since the files are its own."""

from dataclasses import dataclass

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from eventflow.settings import CollectorSettings

TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolStatus:
    """What waits in the spool until the broker confirms it."""

    events: int
    size_bytes: int
    oldest_s: float


async def spool_status(collector: CollectorSettings) -> SpoolStatus | None:
    """Ask the collector; None where it has no spool, or does not answer from here."""
    if collector.spool_dir is None:
        return None
    url = f"http://{collector.admin_host}:{collector.admin_port}/metrics"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S), trust_env=False) as client,
            client.get(url) as answer,
        ):
            text = await answer.text()
    except (aiohttp.ClientError, TimeoutError):
        return None
    return spool_of(text)


def spool_of(exposition: str) -> SpoolStatus:
    """Read the spool's gauges out of the Prometheus text format."""
    values = {
        sample.name: sample.value
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
        if sample.name.startswith("eventflow_spool_")
    }
    return SpoolStatus(
        events=int(values.get("eventflow_spool_events", 0)),
        size_bytes=int(values.get("eventflow_spool_bytes", 0)),
        oldest_s=values.get("eventflow_spool_oldest_seconds", 0.0),
    )


def in_words(spool: SpoolStatus) -> str:
    """Say what waits in the spool."""
    if not spool.events:
        return "The spool is empty."
    size_kb = spool.size_bytes / 1000
    return f"In the spool: {spool.events} events, {size_kb:.1f} kB, the oldest for {spool.oldest_s:.0f} s."
