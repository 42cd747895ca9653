"""Rate of single events that are accepted."""

from functools import partial

from benchmarks.bench import contestants
from benchmarks.bench.contestants import Ingester
from benchmarks.bench.figures import MeasureError, Section, Turn, in_turn
from benchmarks.bench.instruments import wrk
from benchmarks.bench.instruments.wire import Wire
from benchmarks.bench.stage import LARGE, MIDDLE, SMALL, Body, Stage

HEADLINE = "64 connections, 0.3 kB"
CASES = ((64, SMALL), (256, SMALL), (64, MIDDLE), (64, LARGE))
"""Goals and known ranges refer to the first case."""


def measure(here: Stage) -> Section:
    """Measure all programs in turn, each with an empty queue."""
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
    """Empty the queue of a program and then load it; see `load`."""
    here.show_step(f"ingest, {connections} connections, {body.title}: {ingester.name}")
    with wire.emptied(ingester.queue):
        return load(here, ingester, connections=connections, body=body)


def load(here: Stage, ingester: Ingester, *, connections: int, body: Body) -> float:
    """Send single events as fast as they are answered, and return the rate.

    Raises:
        MeasureError: The program refused an event or broke a connection.
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
