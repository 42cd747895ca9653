"""Cost of metrics and traces in the collector."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from benchmarks.bench.contestants import ingesters
from benchmarks.bench.contestants.ingesters import Ingester
from benchmarks.bench.figures import Role, Row, Sample, Section
from benchmarks.bench.instruments.wire import Wire
from benchmarks.bench.stage import LIVE_QUEUE, SMALL, TRACES_URL, Stage

WITHOUT = "no telemetry"
IN_PRODUCTION = "metrics, 1 % of traces"
_NO_TRACES = {TRACES_URL: ""}
_ALL_TRACES = {"OTEL_TRACES_SAMPLER": "parentbased_always_on"}
_CONNECTIONS = 64
_TITLE = f"Cost of telemetry to ingest: two collectors loaded at once ({_CONNECTIONS} connections each, {SMALL.title})"
_TIMES_THE_ROUNDS = 5
"""The ratio of a pair varies by a tenth; 45 pairs show a difference of 2 or 3 %."""


def measure(here: Stage) -> Section:
    """Measure collectors with some telemetry, each at the same time as one without any.

    The difference is a few percent, while the speed of a machine may change by a third within seconds. So the two
    collectors are loaded at once and not in turn: other work affects both, and each gets half of the machine.
    """
    section = Section(name="telemetry", title=_TITLE)
    none = ingesters.collector(here, name=WITHOUT, module="benchmarks.bench.instruments.silent", **_NO_TRACES)
    metrics = ingesters.collector(here, name="metrics", **_NO_TRACES)
    sampled = ingesters.collector(here, name=IN_PRODUCTION)
    traced = ingesters.collector(here, name="metrics, all traces", **_ALL_TRACES)
    with ingesters.running([none, metrics, sampled, traced], SMALL), Wire(here.broker_url) as wire:
        section.rows += _side_by_side(here, wire, none, metrics, rounds=here.plan.few_rounds)
        section.rows += _side_by_side(here, wire, none, sampled, rounds=_TIMES_THE_ROUNDS * here.plan.rounds)
        section.rows += _side_by_side(here, wire, none, traced, rounds=here.plan.few_rounds)
    return section


def _side_by_side(here: Stage, wire: Wire, none: Ingester, one: Ingester, *, rounds: int) -> Sequence[Row]:
    here.show_step(f"telemetry: {one.name}")
    samples: list[Sequence[Sample]] = []
    with ThreadPoolExecutor(2) as at_once:
        for _ in range(rounds):
            with wire.emptied(LIVE_QUEUE):
                samples.append(list(at_once.map(partial(_load, here), (none, one))))
    return [
        Row(case=one.name, name=collector.name, role=role, samples=of_one)
        for collector, role, of_one in zip(
            (none, one), (Role.CEILING, Role.OURS), zip(*samples, strict=True), strict=True
        )
    ]


def _load(here: Stage, collector: Ingester) -> Sample:
    return collector.load(here, SMALL.path, collector.headers_for(SMALL.content), connections=_CONNECTIONS)
