"""Single events: how many are answered 202 per second."""

from functools import partial

from benchmarks.bench import contestants, wrk
from benchmarks.bench.contestants import Ingester
from benchmarks.bench.figures import MeasureError, Row, Section, interleaved
from benchmarks.bench.stage import LARGE, MIDDLE, SMALL, Body, Stage
from benchmarks.bench.wire import Wire

HEADLINE = "64 connections, 0.3 kB"
CASES = ((64, SMALL), (256, SMALL), (64, MIDDLE), (64, LARGE))
"""The first is the one that goals and known ranges are about."""


def measure(here: Stage) -> Section:
    """Measure all in turn, with nothing queued at the start of each turn."""
    section = Section(name="ingest", title="Ingest, single events")
    ingesters = [contestants.ingest_ceiling(), contestants.collector(here)]
    try:
        ingesters.append(contestants.github_collector(here))
    except MeasureError as error:
        section.skipped.append(f"GitHub's signature: {error}")
    ingesters += contestants.ingest_peers(here)
    with contestants.running(ingesters, SMALL), Wire(here.broker_url) as wire:
        for connections, body in CASES:
            case = f"{connections} connections, {body.title}"
            rounds = here.plan.rounds if case == HEADLINE else here.plan.few_rounds
            turn = partial(events_per_s, here, wire, case=case, connections=connections, body=body)
            samples = interleaved(ingesters, rounds, turn)
            section.rows += [
                Row(
                    case=case,
                    name=ingester.name,
                    role=ingester.role,
                    samples=samples[ingester],
                    known=ingester.known if case == HEADLINE else None,
                )
                for ingester in ingesters
            ]
    return section


def events_per_s(here: Stage, wire: Wire, ingester: Ingester, *, case: str, connections: int, body: Body) -> float:
    """Load one with single events, and leave its queue empty."""
    here.tell(f"ingest, {case}: {ingester.name}")
    rate = wrk.requests_per_s(
        ingester.url,
        body=body.path,
        headers=ingester.headers_for(body.content),
        connections=connections,
        for_s=here.plan.for_s,
    )
    if ingester.queue is not None:
        wire.purge(ingester.queue)
    return rate
