"""State of the spool: from the reports of the collectors, or from the metrics of one; only it may open the files."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from prometheus_client.samples import Sample

from eventflow.control.reports import CollectorReport
from eventflow.operations.scrape import samples_of
from eventflow.settings.collector import CollectorSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolStatus:
    """Events that wait in the spool until the broker confirms them.

    Attributes:
        set_aside: Events that are kept and not sent, because they are larger than the broker accepts.
        failing: Whether the disk fails or does not answer, so that no event can be spooled.
    """

    events: int
    set_aside: int
    size_bytes: int
    oldest_s: float
    failing: bool = False


async def spool_status(collector: CollectorSettings) -> SpoolStatus | None:
    """Return the state of the spool by the metrics of the collector on this host.

    Returns:
        None if there is no spool, or if the collector cannot be reached from here.
    """
    samples = await samples_of(collector.admin_host, collector.admin_port)
    return None if samples is None else spool_of(samples)


def spool_of(samples: Sequence[Sample]) -> SpoolStatus | None:
    """Return the state that the metrics describe; None if the collector has no spool."""
    values = {sample.name: sample.value for sample in samples}
    if not values.get("eventflow_spool_max_bytes"):
        return None
    return SpoolStatus(
        events=int(values.get("eventflow_spool_events", 0)),
        set_aside=int(values.get("eventflow_spool_set_aside_events", 0)),
        size_bytes=int(values.get("eventflow_spool_bytes", 0)),
        oldest_s=values.get("eventflow_spool_oldest_seconds", 0.0),
        failing=bool(values.get("eventflow_spool_failing", 0)),
    )


def spool_in(reports: Iterable[CollectorReport]) -> SpoolStatus | None:
    """Return the spools of all collectors together; None if no collector with a spool has answered."""
    spools = [report.spool for report in reports if report.spool is not None]
    if not spools:
        return None
    return SpoolStatus(
        events=sum(spool.events for spool in spools),
        set_aside=sum(spool.set_aside for spool in spools),
        size_bytes=sum(spool.size_bytes for spool in spools),
        oldest_s=max(spool.oldest_s for spool in spools),
        failing=any(spool.failing for spool in spools),
    )


def in_words(spool: SpoolStatus) -> str:
    """Return the state for display."""
    sentences = []
    if spool.failing:
        sentences.append("The disk of the spool fails or does not answer, so no event can be spooled.")
    if spool.events:
        size = f" {spool.size_bytes / 1000:.1f} kB," if spool.size_bytes else ""  # a few fit into an empty file's pages
        sentences.append(f"In the spool: {spool.events} events,{size} the oldest for {spool.oldest_s:.0f} s.")
    if spool.set_aside:
        sentences.append(f"Set aside in the spool: {spool.set_aside} events that are larger than RabbitMQ accepts.")
    return " ".join(sentences) or "The spool is empty."
