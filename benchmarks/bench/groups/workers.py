"""Rate of single events with one and with two worker processes."""

from functools import partial

from benchmarks.bench.contestants import ingesters
from benchmarks.bench.figures import Role, Section, Turn, in_turn
from benchmarks.bench.groups.ingest import HEADLINE, load
from benchmarks.bench.instruments.wire import Wire
from benchmarks.bench.stage import SMALL, Stage


def measure(here: Stage) -> Section:
    """Measure both numbers of workers in turn."""
    section = Section(name="workers", title="Ingest by worker processes")
    names = {1: "1 worker process", 2: "2 worker processes"}
    collectors = [
        ingesters.collector(here, name=name, EVENTFLOW_COLLECTOR__WORKERS=str(count)) for count, name in names.items()
    ]
    with ingesters.running(collectors, SMALL), Wire(here.broker_url) as wire:
        turns = [
            Turn(
                name=one.name,
                role=Role.OURS,
                run=partial(load, here, wire, one, connections=64, body=SMALL),
            )
            for one in collectors
        ]
        section.rows += in_turn(HEADLINE, turns, rounds=here.plan.side_rounds)
    return section
