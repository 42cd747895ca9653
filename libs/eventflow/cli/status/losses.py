"""Possible losses of events that a processor reports in its metrics: vanished queues, and dangerous policies."""

from collections.abc import Sequence

from prometheus_client.samples import Sample

from eventflow.cli.scrape import values_by_flow


def losses_of(samples: Sequence[Sample]) -> dict[str, tuple[str, ...]]:
    """Return one line for each possible loss, by flow; flows without any are missing."""
    vanished = values_by_flow(samples, "eventflow_queues_vanished_total")
    dangerous = values_by_flow(samples, "eventflow_dangerous_policies")
    found: dict[str, tuple[str, ...]] = {}
    for flow, queues in vanished.items():
        if queues:
            line = f"queues vanished, with all events in them: {queues:.0f} since the processor started"
            found[flow] = (*found.get(flow, ()), f"{line}: see queue.vanished in its log")
    for flow, settings in dangerous.items():
        if settings:
            line = f"policies of the broker can delete events: {settings:.0f} settings in effect"
            found[flow] = (*found.get(flow, ()), f"{line}: see eventflow check")
    return found
