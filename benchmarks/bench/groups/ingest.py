"""Rate of single events that are accepted."""

from functools import partial

from benchmarks.bench.contestants import ingesters, names
from benchmarks.bench.contestants.ingesters import Ingester
from benchmarks.bench.figures import Role, Sample, Section, Turn, in_turn
from benchmarks.bench.instruments.wire import Wire
from benchmarks.bench.stage import LARGE, MIDDLE, SMALL, Body, Stage

HEADLINE = "64 connections, 0.3 kB"
CASES = ((64, SMALL), (256, SMALL), (64, MIDDLE), (64, LARGE))
"""Goals and known ranges refer to the first case. The others compare fewer programs, to save time."""

_IN_EVERY_CASE = {names.OURS, names.GO, names.AIO_PIKA_INGEST}


def measure(here: Stage) -> Section:
    """Measure all programs in turn, each with an empty queue."""
    section = Section(name="ingest", title="Ingest, single events")
    compared = [
        ingesters.ceiling(),
        ingesters.collector(here),
        ingesters.github_collector(here),
        *ingesters.go_peers(here),
        *ingesters.peers(here),
    ]
    with ingesters.running(compared, SMALL), Wire(here.broker_url) as wire:
        for connections, body in CASES:
            case = f"{connections} connections, {body.title}"
            is_headline = case == HEADLINE
            turns = [
                Turn(
                    name=one.name,
                    role=one.role,
                    run=partial(load, here, wire, one, connections=connections, body=body),
                    known=one.known if is_headline else None,
                )
                for one in compared
                if is_headline or one.role is Role.CEILING or one.name in _IN_EVERY_CASE
            ]
            section.rows += in_turn(case, turns, rounds=here.plan.rounds if is_headline else here.plan.side_rounds)
    return section


def load(here: Stage, wire: Wire, ingester: Ingester, *, connections: int, body: Body) -> Sample:
    """Empty the queue of a program, and then send it single events as fast as they are answered."""
    here.show_step(f"ingest, {connections} connections, {body.title}: {ingester.name}")
    with wire.emptied(ingester.queue):
        return ingester.load(here, body.path, ingester.headers_for(body.content), connections=connections)
