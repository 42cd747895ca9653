"""Single events: how many are answered 202 per second."""

from functools import partial

from benchmarks.bench import contestants
from benchmarks.bench.contestants import Ingester
from benchmarks.bench.figures import MeasureError, Section, Turn, in_turn
from benchmarks.bench.instruments import wrk
from benchmarks.bench.instruments.wire import Wire
from benchmarks.bench.stage import LARGE, MIDDLE, SMALL, Body, Stage

HEADLINE = "64 connections, 0.3 kB"
CASES = ((64, SMALL), (256, SMALL), (64, MIDDLE), (64, LARGE))
"""The first is the one that goals and known ranges are about."""


def measure(here: Stage) -> Section:
    """Measure all in turn, with nothing queued at the start of each turn."""
    section = Section(name="ingest", title="Ingest, single events")
    ingesters = [
        contestants.ingest_ceiling(),
        contestants.collector(here),
        contestants.github_collector(here),
        *contestants.ingest_peers(here),
    ]
    with contestants.running(ingesters, SMALL), Wire(here.broker_url) as wire:
        for connections, body in CASES:
            case = f"{connections} connections, {body.title}"
            is_headline = case == HEADLINE
            turns = [
                Turn(
                    name=one.name,
                    role=one.role,
                    run=partial(events_per_s, here, wire, one, connections=connections, body=body),
                    known=one.known if is_headline else None,
                )
                for one in ingesters
            ]
            section.rows += in_turn(case, turns, rounds=here.plan.rounds if is_headline else here.plan.few_rounds)
    return section


def events_per_s(here: Stage, wire: Wire, ingester: Ingester, *, connections: int, body: Body) -> float:
    """Load one with single events, with nothing queued before; see `load`."""
    here.tell(f"ingest, {connections} connections, {body.title}: {ingester.name}")
    with wire.emptied(ingester.queue):
        return load(here, ingester, connections=connections, body=body)


def load(here: Stage, ingester: Ingester, *, connections: int, body: Body) -> float:
    """Send single events as fast as they are answered and return how many that are per second.

    Raises:
        MeasureError: It refused one, or broke a connection.
    """
    try:
        return wrk.requests_per_s(
            ingester.url,
            body=body.path,
            headers=ingester.headers_for(body.content),
            connections=connections,
            for_s=here.plan.for_s,
        )
    except MeasureError as error:
        raise MeasureError(f"{ingester.name}, {connections} connections, {body.title}: {error}") from error
