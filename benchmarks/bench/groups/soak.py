"""Memory of both services over a long time at half load."""

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from statistics import median

from benchmarks.bench.contestants import deliverers, ingesters
from benchmarks.bench.contestants.ingesters import Ingester
from benchmarks.bench.figures import Role, Row, Sample, Section
from benchmarks.bench.groups.latency import PROCESSOR_STARTS_S, delivered_per_s, paced
from benchmarks.bench.instruments.wire import Wire
from benchmarks.bench.stage import LIVE_QUEUE, QUICK, SMALL, Stage
from sandbox.ports import LOOPBACK, free_port
from sandbox.processes import ChildProcess

SLICE_S = 15.0
"""Time after which the sender is started anew, because it remembers each event. That also renews all connections."""

QUARTERS = ("first quarter", "second quarter", "third quarter", "last quarter")
GROWTH = "growth of the memory: last quarter / second quarter"
MEMORY_UNIT = "MB"


def measure(here: Stage) -> Section:
    """Send at half load until the time is over, and read the memory of both services after each slice.

    Raises:
        MeasureError: An event was refused or did not reach the target.
    """
    section = Section(name="soak", title=f"Soak: {here.plan.soak_min} min at half load")
    if here.plan is QUICK:
        section.title += " (a short trial: growth needs more time to show)"
    collector = ingesters.collector(here)
    with ingesters.running([collector], SMALL), Wire(here.broker_url) as wire:
        with wire.emptied(LIVE_QUEUE):
            rate_per_s = delivered_per_s(here, collector) / 2
        memory_mb = _memory_mb(here, collector, rate_per_s)
    section.rows += rows(memory_mb, rate_per_s)
    return section


def _memory_mb(here: Stage, collector: Ingester, rate_per_s: float) -> Mapping[str, Sequence[float]]:
    """Return the memory of each service after each slice."""
    port = free_port()
    processor = deliverers.processor(here, f"http://{LOOPBACK}:{port}")
    services = {"collector": collector.process, "processor": processor.process}
    memory_mb: dict[str, list[float]] = {service: [] for service in services}
    length_s = here.plan.soak_min * 60
    with processor.process:
        time.sleep(PROCESSOR_STARTS_S)
        began_s = time.monotonic()
        while (passed_s := time.monotonic() - began_s) < length_s:
            here.show_step(_step(passed_s, length_s, rate_per_s, services), share=passed_s / length_s)
            paced(collector, rate_per_s, for_s=SLICE_S, target_port=port)
            for service, process in services.items():
                memory_mb[service].append(_resident_mb(process))
    return memory_mb


def _step(passed_s: float, length_s: float, rate_per_s: float, services: Mapping[str, ChildProcess]) -> str:
    memory = ", ".join(f"{service} {_resident_mb(process):.1f} MB" for service, process in services.items())
    return f"soak, {rate_per_s:.0f} events/s, {passed_s / 60:.1f} of {length_s / 60:.0f} min: {memory}"


def _resident_mb(process: ChildProcess) -> float:
    return process.resident_bytes / 1e6


def rows(memory_mb: Mapping[str, Sequence[float]], rate_per_s: float) -> Iterator[Row]:
    """Yield a row for each quarter of the time and each service, and then the growth of each service."""
    quarters = {service: _quarters(samples_mb) for service, samples_mb in memory_mb.items()}
    for number, quarter in enumerate(QUARTERS):
        for service, of_service in quarters.items():
            case = f"memory at {rate_per_s:.0f} events/s, {quarter}"
            samples = [Sample(figure) for figure in of_service[number]]
            yield Row(case=case, name=service, role=Role.OURS, samples=samples, unit=MEMORY_UNIT)
    for service, (_, second, _, last) in quarters.items():
        yield Row(case=GROWTH, name=service, role=Role.OURS, samples=[Sample(median(last) / median(second))], unit="")


def _quarters(samples: Sequence[float]) -> list[Sequence[float]]:
    bounds = [len(samples) * number // len(QUARTERS) for number in range(len(QUARTERS) + 1)]
    return [samples[begin:end] for begin, end in pairwise(bounds)]
