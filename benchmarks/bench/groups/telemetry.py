"""What metrics and traces cost the collector."""

from functools import partial

from benchmarks.bench import contestants
from benchmarks.bench.figures import Role, Section, Turn, in_turn
from benchmarks.bench.groups.ingest import HEADLINE, events_per_s
from benchmarks.bench.stage import SMALL, TRACES_URL, Stage
from benchmarks.bench.wire import Wire

_NO_TRACES = {TRACES_URL: ""}
_ALL_TRACES = {"OTEL_TRACES_SAMPLER": "parentbased_always_on"}


def measure(here: Stage) -> Section:
    """Measure the collector with more and more telemetry, in turn; the first, without any, is the ceiling."""
    section = Section(name="telemetry", title="Cost of telemetry to ingest")
    collectors = [
        contestants.collector(here, name="no telemetry", module="benchmarks.bench.silent", **_NO_TRACES),
        contestants.collector(here, name="metrics", **_NO_TRACES),
        contestants.collector(here, name="metrics, 1 % of traces"),
        contestants.collector(here, name="metrics, all traces", **_ALL_TRACES),
    ]
    with contestants.running(collectors, SMALL), Wire(here.broker_url) as wire:
        turns = [
            Turn(
                name=one.name,
                role=Role.CEILING if one is collectors[0] else Role.OURS,
                run=partial(events_per_s, here, wire, one, connections=64, body=SMALL),
            )
            for one in collectors
        ]
        section.rows += in_turn(HEADLINE, turns, rounds=here.plan.rounds)
    return section
