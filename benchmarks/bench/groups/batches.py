"""Rate of events that are accepted in batches."""

import json
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.bench.contestants import ingesters
from benchmarks.bench.contestants.ingesters import Ingester
from benchmarks.bench.figures import Role, Sample, Section, Turn, in_turn
from benchmarks.bench.instruments import raw
from benchmarks.bench.instruments.wire import Wire
from benchmarks.bench.stage import LIVE_QUEUE, SMALL, Stage

BATCH = 100
CONNECTIONS = 10
IN_FLIGHT = BATCH * CONNECTIONS

CASE = f"batches of {BATCH}, {CONNECTIONS} connections, 0.3 kB"
_NDJSON = "application/x-ndjson"


def measure(here: Stage) -> Section:
    """Measure collector and ceiling in turn, each with an empty queue."""
    section = Section(name="batches", title="Ingest in batches")
    line = json.dumps(json.loads(SMALL.content), separators=(",", ":"))
    collector = ingesters.collector(here)
    with (
        tempfile.TemporaryDirectory() as directory,
        ingesters.running([collector], SMALL),
        Wire(here.broker_url) as wire,
    ):
        batch = Path(directory) / "batch.ndjson"
        batch.write_text(f"{line}\n" * BATCH, encoding="utf-8")
        turns = [
            Turn(name=raw.name(IN_FLIGHT), role=Role.CEILING, run=partial(_raw, here, wire)),
            Turn(name=collector.name, role=Role.OURS, run=partial(_load, here, wire, collector, batch)),
        ]
        section.rows += in_turn(CASE, turns, rounds=here.plan.few_rounds)
    return section


def _load(here: Stage, wire: Wire, collector: Ingester, batch: Path) -> Sample:
    here.show_step(f"ingest, {CASE}: {collector.name}")
    headers = collector.headers_for(batch.read_bytes(), content_type=_NDJSON)
    with wire.emptied(LIVE_QUEUE):
        return collector.load(here, batch, headers, connections=CONNECTIONS, events=BATCH)


def _raw(here: Stage, wire: Wire) -> Sample:
    here.show_step(f"ingest, {CASE}: {raw.name(IN_FLIGHT)}")
    with wire.emptied(LIVE_QUEUE):
        return raw.published(here, LIVE_QUEUE, in_flight=IN_FLIGHT, for_s=here.plan.for_s)
