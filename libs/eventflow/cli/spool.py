"""What the collector keeps on its own disk, as its metrics tell it: asked for there, since the files are its own."""

from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client.samples import Sample

from eventflow.cli.scrape import samples_of
from eventflow.settings.collector import CollectorSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolStatus:
    """What waits in the spool until the broker confirms it, and how many events are larger than it takes.

    Attributes:
        failing: Whether its disk fails or does not answer, so that it can take no event.
    """

    events: int
    set_aside: int
    size_bytes: int
    oldest_s: float
    failing: bool = False


async def spool_status(collector: CollectorSettings) -> SpoolStatus | None:
    """Ask the collector; None where it has no spool, or does not answer from here."""
    if collector.spool_dir is None:
        return None
    samples = await samples_of(collector.admin_host, collector.admin_port)
    return None if samples is None else spool_of(samples)


def spool_of(samples: Sequence[Sample]) -> SpoolStatus:
    """Read the spool's gauges."""
    values = {sample.name: sample.value for sample in samples}
    return SpoolStatus(
        events=int(values.get("eventflow_spool_events", 0)),
        set_aside=int(values.get("eventflow_spool_set_aside_events", 0)),
        size_bytes=int(values.get("eventflow_spool_bytes", 0)),
        oldest_s=values.get("eventflow_spool_oldest_seconds", 0.0),
        failing=bool(values.get("eventflow_spool_failing", 0)),
    )


def in_words(spool: SpoolStatus) -> str:
    """Say what waits in the spool."""
    sentences = []
    if spool.failing:
        sentences.append("The disk of the spool fails or does not answer: it can take no event.")
    if spool.events:
        size_kb = spool.size_bytes / 1000
        sentences.append(
            f"In the spool: {spool.events} events, {size_kb:.1f} kB, the oldest for {spool.oldest_s:.0f} s."
        )
    if spool.set_aside:
        sentences.append(f"Set aside in the spool: {spool.set_aside} events that are larger than RabbitMQ takes.")
    return " ".join(sentences) or "The spool is empty."
