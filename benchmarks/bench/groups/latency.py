"""Time until the 202, and from the 202 to the target, at half of the capacity of the machine."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from benchmarks.bench import stage
from benchmarks.bench.contestants import deliverers, ingesters
from benchmarks.bench.contestants.ingesters import Ingester
from benchmarks.bench.contestants.names import OURS
from benchmarks.bench.figures import MeasureError, Role, Row, Sample, Section, take_turns
from benchmarks.bench.instruments import raw
from benchmarks.bench.instruments.paced import LAST_WITHIN_S, WARM_UP_S
from benchmarks.bench.instruments.sink import read_count
from benchmarks.bench.instruments.wire import Wire
from benchmarks.bench.stage import LIVE_QUEUE, SMALL, Stage, sink
from sandbox.ports import LOOPBACK, free_port

CONNECTIONS = 64
PROCESSOR_STARTS_S = 3.0
LONGER = 2
"""Factor on the length of a measurement: the slowest hundredth needs many events."""

PERCENTILES = ("p50", "p99")
Answered = Mapping[str, float]

COLLECTOR_ALONE = "the 202, collector alone"
WHOLE_WAY_202 = "the 202, whole way"
WHOLE_WAY = "from the 202 to the target"


def measure(here: Stage) -> Section:
    """Measure the collector alone beside raw frames, then collector and processor."""
    section = Section(name="latency", title="Latency at half load")
    collector = ingesters.collector(here)
    with ingesters.running([collector], SMALL), Wire(here.broker_url) as wire:
        here.show_step("latency: capacity of the collector")
        with wire.emptied(LIVE_QUEUE):
            headers = collector.headers_for(SMALL.content)
            half_per_s = collector.load(here, SMALL.path, headers, connections=CONNECTIONS).figure / 2
        section.rows += _collector_alone(here, wire, collector, half_per_s)
        with wire.emptied(LIVE_QUEUE):
            half_per_s = delivered_per_s(here, collector) / 2
        section.rows += _whole_way(here, collector, half_per_s)
    return section


def _collector_alone(here: Stage, wire: Wire, collector: Ingester, rate_per_s: float) -> Iterator[Row]:
    """Measure the 202s, and in turn the confirms of raw frames at the same rate."""
    for_s = here.plan.for_s * LONGER

    def answered() -> Answered:
        here.show_step(f"latency, collector alone, {rate_per_s:.0f} events/s")
        with wire.emptied(LIVE_QUEUE):
            return paced(collector, rate_per_s, for_s=for_s)

    def confirmed() -> Answered:
        here.show_step(f"latency, raw frames, {rate_per_s:.0f} events/s")
        with wire.emptied(LIVE_QUEUE):
            return raw.paced(here, LIVE_QUEUE, in_flight=CONNECTIONS, rate_per_s=rate_per_s, for_s=for_s)

    ours, frames = take_turns([answered, confirmed], rounds=here.plan.rounds)
    programs = ((raw.name(CONNECTIONS), Role.CEILING, frames), (OURS, Role.OURS, ours))
    for percentile in PERCENTILES:
        for name, role, results in programs:
            yield _row(f"{COLLECTOR_ALONE}, {rate_per_s:.0f} events/s", name, role, results, f"answer_{percentile}")


def _whole_way(here: Stage, collector: Ingester, rate_per_s: float) -> Iterator[Row]:
    """Measure collector and processor together."""
    port, for_s = free_port(), here.plan.for_s * LONGER
    here.show_step(f"latency, whole way, {rate_per_s:.0f} events/s")
    with deliverers.processor(here, f"http://{LOOPBACK}:{port}").process:
        time.sleep(PROCESSOR_STARTS_S)
        results = [paced(collector, rate_per_s, for_s=for_s, target_port=port) for _ in range(here.plan.rounds)]
    for case, figure in ((WHOLE_WAY_202, "answer"), (WHOLE_WAY, "way")):
        for percentile in PERCENTILES:
            yield _row(f"{case}, {rate_per_s:.0f} events/s", OURS, Role.OURS, results, f"{figure}_{percentile}")


def _row(case: str, name: str, role: Role, results: Sequence[Answered], figure: str) -> Row:
    samples = [Sample(result[f"{figure}_ms"]) for result in results]
    return Row(case=f"{case}, {figure.partition('_')[2]}", name=name, role=role, samples=samples, unit="ms")


def delivered_per_s(here: Stage, collector: Ingester) -> float:
    """Return the rate at the target while the collector is fully loaded."""
    here.show_step(f"{OURS}: capacity of the whole way")
    with _delivering(here) as target_url:
        before = read_count(target_url)
        collector.load(here, SMALL.path, collector.headers_for(SMALL.content), connections=CONNECTIONS)
        after = read_count(target_url)
    return (after.requests - before.requests) / (after.at_s - before.at_s)


@contextmanager
def _delivering(here: Stage) -> Iterator[str]:
    with sink() as target_url, deliverers.processor(here, target_url).process as process:
        time.sleep(PROCESSOR_STARTS_S)
        yield target_url
        process.kill()  # the rest of the queue is not needed


def paced(collector: Ingester, rate_per_s: float, *, for_s: float, target_port: int | None = None) -> Answered:
    """Send on schedule; return the number of answers and percentiles of their times.

    Args:
        target_port: Port for the target, which awaits all events; None for no target.

    Raises:
        MeasureError: An event was refused or did not reach the target.
    """
    way = "collector alone" if target_port is None else "whole way"
    lines = [f"{name}: {value}" for name, value in collector.headers_for(SMALL.content).items()]
    options = [part for line in lines for part in ("--header", line)]
    if target_port is not None:
        options += ["--target-port", str(target_port)]
    arguments = (collector.url, str(SMALL.path), str(rate_per_s), str(for_s), *options)
    sender = stage.own("sender", "benchmarks.bench.instruments.paced", *arguments)
    with sender:
        status = sender.wait(for_s + WARM_UP_S + 2 * LAST_WITHIN_S + stage.SINK_WITHIN_S)
    if status != 0:
        raise MeasureError(sender.explain(f"the sender ended with {status}"))
    result: dict[str, float] = json.loads(sender.tail(1)[0])
    if result["refused"] or (target_port is not None and result["missing"]):
        raise MeasureError(f"paced, {way}: {result}")
    return result
