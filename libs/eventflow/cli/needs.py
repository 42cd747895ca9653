"""The needs of a flow: attempts in flight, processors, collectors, and RabbitMQ's disk and memory for a backlog. Pure.

docs/sizing.md has the measurements behind the constants.
"""

import math
from dataclasses import dataclass

from eventflow.settings.auto import concurrency_of, held_max, prefetch_of
from eventflow.settings.target import TargetSettings
from eventflow.topology import Lane

DELIVERED_PER_CORE_S = 8_000
"""Events that one processor delivers per second: the slowest round without a backlog in docs/performance.md."""

ACCEPTED_PER_CORE_S = 10_000
"""Events of 0.3 kB that one worker process of a collector accepts per second: docs/performance.md, rounded down."""

SPARE = 1
"""Services of each kind beyond the load, so that one can fail or be replaced."""

DISK_OVERHEAD_BYTES = 700
"""Disk space of RabbitMQ for each queued event, besides its body: headers, properties and framing."""

MEMORY_BYTES = 50
"""Memory of RabbitMQ for each queued event, for a body of any size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The load of a flow.

    Attributes:
        answer_s: Usual time of an answer of the target.
        arrivals_per_s: Events that arrive per second, on average.
        peak_per_s: Events that arrive per second at the peak.
        outage_s: Time for which the target may be down.
        body_bytes: Usual size of a body.
        max_body_bytes: The setting `MAX_BODY_BYTES` of the source.
    """

    answer_s: float
    arrivals_per_s: float
    peak_per_s: float
    outage_s: float
    body_bytes: int
    max_body_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """The needs of a flow.

    Attributes:
        concurrency: Attempts in flight that keep the rate even if each takes the whole timeout.
        held_events: Live events that one processor holds at a time.
        processor_events_per_s: Events that one processor on one core delivers, at the usual time of an answer.
        processors: Processors that reach the rate at the usual time of an answer; more add nothing to the rate.
        processors_if_slow: The same if each answer takes the whole timeout.
        processors_recommended: One more than `processors`, for failures and upgrades.
        collectors_recommended: Collectors of one worker process that accept the peak, and one more.
        backlog_events: Events that wait at the end of an outage.
        drain_s: Time to empty this backlog while events continue to arrive; None if it never empties.
        disk_bytes: Disk space for the backlog on each node of RabbitMQ.
        memory_bytes: Memory for the backlog on each node of RabbitMQ.
    """

    events_per_s: float
    concurrency: int
    held_events: int
    processor_events_per_s: float
    processors: int
    processors_if_slow: int
    processors_recommended: int
    collectors_recommended: int
    backlog_events: int
    drain_s: float | None
    disk_bytes: int
    memory_bytes: int


def needs_of(target: TargetSettings, events_per_s: float, load: Load) -> Needs:
    """Compute the needs of a flow that delivers at most `events_per_s`."""
    of_one_per_s = _delivered_per_s(load.answer_s, load.max_body_bytes)
    processors = _number_for(events_per_s, of_one_per_s)
    backlog = math.ceil(load.arrivals_per_s * load.outage_s)
    spare_per_s = events_per_s - load.arrivals_per_s
    return Needs(
        events_per_s=events_per_s,
        concurrency=concurrency_of(target),
        held_events=prefetch_of(target, configured=None, max_body_bytes=load.max_body_bytes)[Lane.LIVE],
        processor_events_per_s=of_one_per_s,
        processors=processors,
        processors_if_slow=_number_for(events_per_s, _delivered_per_s(target.timeout_s, load.max_body_bytes)),
        processors_recommended=processors + SPARE,
        collectors_recommended=_number_for(load.peak_per_s, ACCEPTED_PER_CORE_S) + SPARE,
        backlog_events=backlog,
        drain_s=backlog / spare_per_s if spare_per_s > 0 else None,
        disk_bytes=backlog * (load.body_bytes + DISK_OVERHEAD_BYTES),
        memory_bytes=backlog * MEMORY_BYTES,
    )


def _delivered_per_s(answer_s: float, max_body_bytes: int) -> float:
    """Return the rate of one processor: it has one core, and holds a limited number of events during their attempts."""
    in_flight_per_s = held_max(max_body_bytes) / answer_s if answer_s else math.inf
    return min(DELIVERED_PER_CORE_S, in_flight_per_s)


def _number_for(events_per_s: float, of_one_per_s: float) -> int:
    return max(1, math.ceil(events_per_s / of_one_per_s))
