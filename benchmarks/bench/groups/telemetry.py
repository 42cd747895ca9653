"""What metrics and traces cost the collector."""

from collections.abc import Sequence
from functools import partial

from benchmarks.bench import contestants
from benchmarks.bench.contestants import Ingester
from benchmarks.bench.figures import Role, Row, Section, Turn, in_turn
from benchmarks.bench.groups.ingest import HEADLINE, events_per_s
from benchmarks.bench.stage import SMALL, TRACES_URL, Stage
from benchmarks.bench.wire import Wire

IN_PRODUCTION = f"in production, {HEADLINE}"
_APART = f"apart, {HEADLINE}"
_NO_TRACES = {TRACES_URL: ""}
_ALL_TRACES = {"OTEL_TRACES_SAMPLER": "parentbased_always_on"}


def measure(here: Stage) -> Section:
    """Measure collectors with more and less telemetry, in turn; the ceiling is one without any.

    What is meant for production is measured in many rounds, since a few percent are to be told, and apart from the one
    with all traces, which goes on exporting for a while after its turn.
    """
    section = Section(name="telemetry", title="Cost of telemetry to ingest")
    none = contestants.collector(here, name="no telemetry", module="benchmarks.bench.silent", **_NO_TRACES)
    metrics = contestants.collector(here, name="metrics", **_NO_TRACES)
    sampled = contestants.collector(here, name="metrics, 1 % of traces")
    traced = contestants.collector(here, name="metrics, all traces", **_ALL_TRACES)
    with contestants.running([none, metrics, sampled, traced], SMALL), Wire(here.broker_url) as wire:

        def compare(case: str, *with_some: Ingester, rounds: int) -> Sequence[Row]:
            turns = [
                Turn(
                    name=one.name,
                    role=Role.CEILING if one is none else Role.OURS,
                    run=partial(events_per_s, here, wire, one, connections=64, body=SMALL),
                )
                for one in (none, *with_some)
            ]
            return in_turn(case, turns, rounds=rounds)

        section.rows += compare(IN_PRODUCTION, sampled, rounds=2 * here.plan.rounds)
        section.rows += compare(_APART, metrics, traced, rounds=here.plan.few_rounds)
    return section
