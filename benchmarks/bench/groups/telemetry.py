"""Cost of metrics and traces in collector and processor."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from benchmarks.bench.contestants import deliverers, ingesters
from benchmarks.bench.contestants.ingesters import Ingester
from benchmarks.bench.figures import Row, Sample, Section, rows_at_once
from benchmarks.bench.groups.delivery import delivered_at_once
from benchmarks.bench.instruments.wire import Wire
from benchmarks.bench.stage import LIVE_QUEUE, SMALL, TRACES_URL, Stage, sink

WITHOUT = "no telemetry"
IN_PRODUCTION = "metrics, 1 % of traces"
DELIVERY = f"delivery: {IN_PRODUCTION}"
INGEST = f"ingest: {IN_PRODUCTION}"
_SILENT = ("benchmarks.bench.instruments.silent",)
_NO_TRACES = {TRACES_URL: ""}
_ALL_TRACES = {"OTEL_TRACES_SAMPLER": "parentbased_always_on"}
_CONNECTIONS = 64
_TITLE = f"Cost of telemetry: two services loaded at once (ingest: {_CONNECTIONS} connections each; {SMALL.title})"
_TIMES_THE_ROUNDS = 5
"""The rates of a pair differ by a tenth at random; 45 pairs show a difference of 2 or 3 %."""


def measure(here: Stage) -> Section:
    """Measure services with some telemetry, each at the same time as one without any.

    The difference is a few percent, while the speed of a machine may change by a third within seconds. So the two
    services are loaded at once and not in turn: other work affects both, and each gets half of the machine.
    """
    section = Section(name="telemetry", title=_TITLE)
    none = ingesters.collector(here, name=WITHOUT, within=_SILENT, **_NO_TRACES)
    metrics = ingesters.collector(here, name="metrics", **_NO_TRACES)
    sampled = ingesters.collector(here, name=IN_PRODUCTION)
    traced = ingesters.collector(here, name="metrics, all traces", **_ALL_TRACES)
    with Wire(here.broker_url) as wire:
        with ingesters.running([none, metrics, sampled, traced], SMALL):
            section.rows += _accept_at_once(here, wire, none, metrics, rounds=here.plan.few_rounds)
            section.rows += _accept_at_once(here, wire, none, sampled, rounds=_TIMES_THE_ROUNDS * here.plan.rounds)
            section.rows += _accept_at_once(here, wire, none, traced, rounds=here.plan.few_rounds)
        section.rows += _deliver_at_once(here, wire, rounds=2 * here.plan.rounds)
    return section


def _accept_at_once(here: Stage, wire: Wire, none: Ingester, one: Ingester, *, rounds: int) -> Sequence[Row]:
    here.show_step(f"telemetry, ingest: {one.name}")
    samples: list[Sequence[Sample]] = []
    with ThreadPoolExecutor(2) as at_once:
        for _ in range(rounds):
            with wire.emptied(LIVE_QUEUE):
                samples.append(list(at_once.map(partial(_accepted, here), (none, one))))
    return rows_at_once(f"ingest: {one.name}", (none.name, one.name), samples)


def _accepted(here: Stage, collector: Ingester) -> Sample:
    return collector.load(here, SMALL.path, collector.headers_for(SMALL.content), connections=_CONNECTIONS)


def _deliver_at_once(here: Stage, wire: Wire, *, rounds: int) -> Sequence[Row]:
    here.show_step(f"telemetry, delivery: {IN_PRODUCTION}")
    with sink() as none_url, sink() as one_url:
        none = deliverers.processor(here, none_url, name=WITHOUT, within=_SILENT, **_NO_TRACES)
        one = deliverers.processor(here, one_url, name=IN_PRODUCTION)
        samples = delivered_at_once(here, wire, ((none, none_url), (one, one_url)), rounds=rounds)
    return rows_at_once(DELIVERY, (none.name, one.name), samples)
