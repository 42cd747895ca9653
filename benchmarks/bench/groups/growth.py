"""Rates and memory with a growing number of queued events."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.bench.contestants import deliverers, ingesters
from benchmarks.bench.contestants.ingesters import Ingester
from benchmarks.bench.contestants.names import OURS
from benchmarks.bench.figures import Role, Row, Sample, Section, Turn, in_turn
from benchmarks.bench.groups.delivery import drained, wanted
from benchmarks.bench.instruments import raw
from benchmarks.bench.instruments.messages import frames
from benchmarks.bench.instruments.wire import Wire
from benchmarks.bench.stage import LIVE_QUEUE, SMALL, Stage, sink

CONNECTIONS = 64
IN_FLIGHT = CONNECTIONS
"""Raw frames have as many publishes in flight as the collector has requests. A larger window would hide the pauses in
which the broker works on its own files, which are longer with a long queue."""

RAW_EVENTS = 40_000
"""Number of raw messages to publish and to consume; every backlog contains so many."""

FILL_IN_FLIGHT = 1000
INGEST, DELIVERY = "ingest", "delivery"
RATIO = "{rate}: rate with {most} queued / rate with none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """Measurements at one backlog."""

    here: Stage
    wire: Wire
    collector: Ingester
    target_url: str
    backlog: int

    def turns(self) -> dict[str, list[Turn]]:
        """Return the measurements of each rate."""
        return {
            INGEST: [
                Turn(name=raw.name(IN_FLIGHT), role=Role.CEILING, run=self._published),
                Turn(name=OURS, role=Role.OURS, run=self._ingested),
            ],
            DELIVERY: [
                Turn(name=f"raw AMQP frames, prefetch {raw.PREFETCH}", role=Role.CEILING, run=self._consumed),
                Turn(name=OURS, role=Role.OURS, run=self._delivered),
            ],
        }

    def _published(self) -> Sample:
        self._fill("raw publishes")
        return raw.published(self.here, LIVE_QUEUE, in_flight=IN_FLIGHT, count=RAW_EVENTS)

    def _ingested(self) -> Sample:
        self._fill("ingest")
        headers = self.collector.headers_for(SMALL.content)
        return self.collector.load(self.here, SMALL.path, headers, connections=CONNECTIONS)

    def _consumed(self) -> Sample:
        self._fill("raw deliveries", at_least=RAW_EVENTS)
        return raw.consumed(self.here, LIVE_QUEUE, count=RAW_EVENTS)

    def _delivered(self) -> Sample:
        processor = deliverers.processor(self.here, self.target_url)
        needed = wanted(processor, for_s=self.here.plan.for_s)
        self._fill("delivery", at_least=needed)
        return drained(processor, self.target_url, for_s=self.here.plan.for_s, queued=needed)

    def _fill(self, step: str, *, at_least: int = 0) -> None:
        """Bring the queue to the backlog, or to the number of events that a turn consumes."""
        goal = max(self.backlog, at_least)
        self.here.show_step(f"growth, {grouped(self.backlog)} queued: {step}")
        ready = self.wire.depth(LIVE_QUEUE)
        if goal == 0:
            self.wire.purge(LIVE_QUEUE)
        elif ready > goal:
            with Wire(self.here.broker_url) as consumer:
                consumer.consume(LIVE_QUEUE, prefetch=FILL_IN_FLIGHT, count=ready - goal)
        elif ready < goal:
            message = frames("ours", SMALL.content, queue=LIVE_QUEUE)
            self.wire.publish(message, in_flight=FILL_IN_FLIGHT, count=goal - ready)


def measure(here: Stage) -> Section:
    """Measure from an empty queue to the largest backlog."""
    section = Section(name="growth", title="Growth: rates and memory by the number of queued events")
    with _started(here) as (wire, collector, target_url):
        for backlog in here.plan.backlogs:
            growth = Growth(here=here, wire=wire, collector=collector, target_url=target_url, backlog=backlog)
            for rate, turns in growth.turns().items():
                section.rows += in_turn(_case(rate, backlog), turns, rounds=here.plan.few_rounds)
        wire.purge(LIVE_QUEUE)
    for rate in (INGEST, DELIVERY):
        section.rows += _ratios(section, rate, here.plan.backlogs[-1])
    return section


@contextmanager
def _started(here: Stage) -> Iterator[tuple[Wire, Ingester, str]]:
    collector = ingesters.collector(here)
    with ingesters.running([collector], SMALL), sink() as target_url, Wire(here.broker_url) as wire:
        yield wire, collector, target_url


def grouped(count: int) -> str:
    """Format a number of events for people."""
    return f"{count:,}".replace(",", " ") if count else "none"


def _case(rate: str, backlog: int) -> str:
    return f"{rate}, {grouped(backlog)} queued"


def _ratios(section: Section, rate: str, most: int) -> list[Row]:
    """Return the rates at the largest backlog relative to those at none, for both programs."""
    pairs = zip(section.of_case(_case(rate, most)), section.of_case(_case(rate, 0)), strict=True)
    case = RATIO.format(rate=rate, most=grouped(most))
    return [Row(case=case, name=a.name, role=a.role, samples=[Sample(a.value / b.value)], unit="") for a, b in pairs]
