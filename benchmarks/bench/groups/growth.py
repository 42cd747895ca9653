"""The same rates with more and more events queued, and the memory of the services."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks.bench import contestants
from benchmarks.bench.contestants import LIVE_QUEUE, OURS, Ingester
from benchmarks.bench.figures import Role, Row, Section, Turn, in_turn
from benchmarks.bench.groups.delivery import drained, wanted
from benchmarks.bench.instruments import raw
from benchmarks.bench.instruments.messages import frames
from benchmarks.bench.instruments.wire import Wire
from benchmarks.bench.instruments.wrk import requests_per_s
from benchmarks.bench.stage import SMALL, Stage, sink

CONNECTIONS = 64
RAW_EVENTS = 40_000
"""So many are published and taken as raw frames: a number that is queued at any point."""

IN_FLIGHT = 1000
MEMORY_UNIT = "MB"
INGEST, DELIVERY = "ingest", "delivery"
RATIO = "{rate}: rate with {most} queued / rate with none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What is measured again at each backlog.

    Attributes:
        memory_mb: By service, the samples of this backlog.
    """

    here: Stage
    wire: Wire
    collector: Ingester
    target_url: str
    backlog: int
    memory_mb: dict[str, list[float]] = field(default_factory=dict)

    def turns(self) -> dict[str, list[Turn]]:
        """Return what is measured, by the rate that it is about."""
        return {
            INGEST: [
                Turn(name=raw.NAME, role=Role.CEILING, run=self._published),
                Turn(name=OURS, role=Role.OURS, run=self._ingested),
            ],
            DELIVERY: [
                Turn(name=f"raw AMQP frames, prefetch {raw.PREFETCH}", role=Role.CEILING, run=self._consumed),
                Turn(name=OURS, role=Role.OURS, run=self._delivered),
            ],
        }

    def _published(self) -> float:
        self._fill("raw publishes")
        return raw.published_per_s(self.here, LIVE_QUEUE, count=RAW_EVENTS)

    def _ingested(self) -> float:
        self._fill("ingest")
        headers = self.collector.headers_for(SMALL.content)
        per_s = requests_per_s(
            self.collector.url, body=SMALL.path, headers=headers, connections=CONNECTIONS, for_s=self.here.plan.for_s
        )
        self._note_memory("collector", contestants.resident_mb(self.collector.process))
        return per_s

    def _consumed(self) -> float:
        self._fill("raw deliveries", at_least=RAW_EVENTS)
        return raw.consumed_per_s(self.here, LIVE_QUEUE, count=RAW_EVENTS)

    def _delivered(self) -> float:
        processor = contestants.processor(self.here, self.target_url)
        needed = wanted(processor, for_s=self.here.plan.for_s)
        self._fill("delivery", at_least=needed)
        done = drained(processor, self.target_url, for_s=self.here.plan.for_s, queued=needed)
        self._note_memory("processor", done.resident_mb)
        return done.per_s

    def _fill(self, what: str, *, at_least: int = 0) -> None:
        """Bring the queue to the backlog, or to as many events as are taken from it."""
        goal = max(self.backlog, at_least)
        self.here.tell(f"growth, {grouped(self.backlog)} queued: {what}")
        ready = self.wire.depth(LIVE_QUEUE)
        if goal == 0:
            self.wire.purge(LIVE_QUEUE)
        elif ready > goal:
            with Wire(self.here.broker_url) as consumer:
                consumer.consume(LIVE_QUEUE, prefetch=IN_FLIGHT, count=ready - goal)
        elif ready < goal:
            message = frames("ours", SMALL.content, queue=LIVE_QUEUE)
            self.wire.publish(message, in_flight=IN_FLIGHT, count=goal - ready)

    def _note_memory(self, service: str, resident_mb: float) -> None:
        self.memory_mb.setdefault(service, []).append(resident_mb)


def measure(here: Stage) -> Section:
    """Measure from an empty queue to the largest backlog."""
    section = Section(name="growth", title="Growth: rates and memory by what is queued")
    with _started(here) as (wire, collector, target_url):
        for backlog in here.plan.backlogs:
            growth = Growth(here=here, wire=wire, collector=collector, target_url=target_url, backlog=backlog)
            for rate, turns in growth.turns().items():
                section.rows += in_turn(_case(rate, backlog), turns, rounds=here.plan.few_rounds)
            section.rows += [
                Row(
                    case=f"memory, {grouped(backlog)} queued",
                    name=service,
                    role=Role.OURS,
                    samples=samples,
                    unit=MEMORY_UNIT,
                )
                for service, samples in growth.memory_mb.items()
            ]
        wire.purge(LIVE_QUEUE)
    for rate in (INGEST, DELIVERY):
        section.rows += _ratios(section, rate, here.plan.backlogs[-1])
    return section


@contextmanager
def _started(here: Stage) -> Iterator[tuple[Wire, Ingester, str]]:
    collector = contestants.collector(here)
    with contestants.running([collector], SMALL), sink() as target_url, Wire(here.broker_url) as wire:
        yield wire, collector, target_url


def grouped(count: int) -> str:
    """Write a number of events as people read it."""
    return f"{count:,}".replace(",", " ") if count else "none"


def _case(rate: str, backlog: int) -> str:
    return f"{rate}, {grouped(backlog)} queued"


def _ratios(section: Section, rate: str, most: int) -> list[Row]:
    """Compare the largest backlog with none, for both programs."""
    pairs = zip(section.of_case(_case(rate, most)), section.of_case(_case(rate, 0)), strict=True)
    case = RATIO.format(rate=rate, most=grouped(most))
    return [Row(case=case, name=a.name, role=a.role, samples=[a.value / b.value], unit="") for a, b in pairs]
