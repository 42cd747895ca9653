"""Measures an installation: its start, its parts in the broker, and its cost while no event comes in."""

import time
from collections.abc import Sequence

from benchmarks.cpu import CORES, Usage
from benchmarks.scale.figures import Cost, Figures, Idle, Size
from benchmarks.scale.stage import Service, Stage, Step, opened

SETTLE_S = 15.0
"""Time from the readiness of the last service until nothing changes any more: joins take 4 s, statistics 5 s."""


def measure(size: Size, *, version: str, idle_s: float, show_step: Step) -> Figures:
    """Start an installation, and measure it for `idle_s` without events."""
    with opened(size, show_step=show_step) as stage:
        empty_bytes = stage.broker_bytes()
        first_ready_s = stage.start_processors(1)
        requests_before = stage.requests()
        ready_s = stage.start_processors(size.processors - 1)
        starts = max(1, size.processors - 1)
        requests_of_a_start = (stage.requests() - requests_before) / starts
        stage.start_collectors(size.collectors)
        show_step(f"waiting {SETTLE_S:g} s")
        time.sleep(SETTLE_S)
        return Figures(
            version=version,
            broker=f"RabbitMQ {stage.node.management_get('overview')['rabbitmq_version']}",
            cores=CORES,
            size=size,
            empty_broker_bytes=empty_bytes,
            first_ready_s=first_ready_s,
            ready_s=ready_s,
            requests_of_a_start=requests_of_a_start,
            parts=stage.parts(),
            idle=_idle(stage, idle_s),
        )


def _idle(stage: Stage, idle_s: float) -> Idle:
    stage.show_step(f"measuring {idle_s:g} s without events")
    services = [*stage.processors, *stage.collectors]
    # Counted outside of the measurement of CPU time, because these commands are work for the broker.
    counts = _counts(stage)
    counted_s = time.monotonic()
    began_s, before = time.monotonic(), _used(stage, services)
    time.sleep(idle_s)
    passed_s, after = time.monotonic() - began_s, _used(stage, services)
    counting_s = time.monotonic() - counted_s
    rates = [(later - earlier) / counting_s for earlier, later in zip(counts, _counts(stage), strict=True)]
    broker, *costs = (
        Cost(memory_bytes=end.resident_bytes, cores=(end.cpu_s - start.cpu_s) / passed_s)
        for start, end in zip(before, after, strict=True)
    )
    processors, collectors = costs[: len(stage.processors)], costs[len(stage.processors) :]
    return Idle(
        broker=Cost(memory_bytes=stage.broker_bytes(), cores=broker.cores),
        processor=_mean(processors),
        busiest_processor_cores=max(cost.cores for cost in processors),
        collector=_mean(collectors),
        requests_per_s=rates[0],
        log_entries_per_s=rates[1],
        control_per_s=rates[2],
    )


def _counts(stage: Stage) -> tuple[int, int, int]:
    return stage.requests(), stage.log_entries(), stage.control_messages()


def _used(stage: Stage, services: Sequence[Service]) -> list[Usage]:
    found = [Usage.of(pid) for pid in (stage.node.pid, *(service.process.pid for service in services))]
    return [usage for usage in found if usage is not None]


def _mean(costs: Sequence[Cost]) -> Cost:
    return Cost(
        memory_bytes=sum(cost.memory_bytes for cost in costs) // max(1, len(costs)),
        cores=sum(cost.cores for cost in costs) / max(1, len(costs)),
    )
