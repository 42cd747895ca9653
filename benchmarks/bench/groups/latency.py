"""Time until the 202, and from the 202 to the target, at half of the capacity of the machine."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.bench import contestants, stage
from benchmarks.bench.contestants import LIVE_QUEUE, OURS, Ingester
from benchmarks.bench.figures import MeasureError, Role, Row, Section
from benchmarks.bench.instruments import wrk
from benchmarks.bench.instruments.paced import LAST_WITHIN_S, WARM_UP_S
from benchmarks.bench.instruments.sink import read_count
from benchmarks.bench.instruments.wire import Wire
from benchmarks.bench.stage import SMALL, Stage, sink
from sandbox.ports import LOOPBACK, free_port

CONNECTIONS = 64
PROCESSOR_STARTS_S = 3.0
LONGER = 2
"""Factor on the length of a measurement: the slowest hundredth needs many events."""

COLLECTOR_ALONE = "the 202, collector alone"
WHOLE_WAY_202 = "the 202, whole way"
WHOLE_WAY = "from the 202 to the target"


def measure(here: Stage) -> Section:
    """Measure the collector alone, then collector and processor."""
    section = Section(name="latency", title="Latency at half load")
    collector = contestants.collector(here)
    with contestants.running([collector], SMALL), Wire(here.broker_url) as wire:
        here.show_step("latency: capacity of the collector")
        with wire.emptied(LIVE_QUEUE):
            half_per_s = _accepted_per_s(here, collector) / 2
        with wire.emptied(LIVE_QUEUE):
            paced = [_paced(here, collector, half_per_s) for _ in range(here.plan.few_rounds)]
        section.rows += _rows(COLLECTOR_ALONE, half_per_s, paced, "answer")
        with wire.emptied(LIVE_QUEUE):
            half_per_s = _delivered_per_s(here, collector) / 2
        port = free_port()
        with contestants.processor(here, f"http://{LOOPBACK}:{port}").process:
            time.sleep(PROCESSOR_STARTS_S)
            paced = [_paced(here, collector, half_per_s, target_port=port) for _ in range(here.plan.few_rounds)]
        section.rows += _rows(WHOLE_WAY_202, half_per_s, paced, "answer")
        section.rows += _rows(WHOLE_WAY, half_per_s, paced, "way")
    return section


def _accepted_per_s(here: Stage, collector: Ingester) -> float:
    headers = collector.headers_for(SMALL.content)
    return wrk.requests_per_s(
        collector.url, body=SMALL.path, headers=headers, connections=CONNECTIONS, for_s=here.plan.for_s
    )


def _delivered_per_s(here: Stage, collector: Ingester) -> float:
    """Return the rate at the target while the collector is fully loaded."""
    here.show_step("latency: capacity of the whole way")
    with _delivering(here) as target_url:
        before = read_count(target_url)
        _accepted_per_s(here, collector)
        after = read_count(target_url)
    return (after.requests - before.requests) / (after.at_s - before.at_s)


@contextmanager
def _delivering(here: Stage) -> Iterator[str]:
    with sink() as target_url, contestants.processor(here, target_url).process as process:
        time.sleep(PROCESSOR_STARTS_S)
        yield target_url
        process.kill()  # the rest of the queue is not needed


def _paced(here: Stage, collector: Ingester, rate_per_s: float, *, target_port: int | None = None) -> dict[str, float]:
    """Send on schedule and return the figures.

    Raises:
        MeasureError: An event was refused or did not reach the target.
    """
    way = "collector alone" if target_port is None else "whole way"
    here.show_step(f"latency, {way}, {rate_per_s:.0f} events/s")
    for_s = here.plan.for_s * LONGER
    lines = [f"{name}: {value}" for name, value in collector.headers_for(SMALL.content).items()]
    options = [part for line in lines for part in ("--header", line)]
    if target_port is not None:
        options += ["--target-port", str(target_port)]
    sender = stage.own(
        "sender",
        "benchmarks.bench.instruments.paced",
        collector.url,
        str(SMALL.path),
        str(rate_per_s),
        str(for_s),
        *options,
    )
    with sender:
        status = sender.wait(for_s + WARM_UP_S + 2 * LAST_WITHIN_S + stage.SINK_WITHIN_S)
    if status != 0:
        raise MeasureError(sender.explain(f"the sender ended with {status}"))
    result: dict[str, float] = json.loads(sender.tail(1)[0])
    if result["refused"] or (target_port is not None and result["missing"]):
        raise MeasureError(f"latency, {way}: {result}")
    return result


def _rows(case: str, rate_per_s: float, paced: list[dict[str, float]], name: str) -> list[Row]:
    return [
        Row(
            case=f"{case}, {rate_per_s:.0f} events/s",
            name=f"{OURS}, {percentile}",
            role=Role.OURS,
            samples=[result[f"{name}_{percentile}_ms"] for result in paced],
            unit="ms",
        )
        for percentile in ("p50", "p99")
    ]
