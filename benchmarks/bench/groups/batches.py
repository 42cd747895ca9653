"""Rate of events that are accepted in batches."""

import json
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.bench import contestants
from benchmarks.bench.contestants import LIVE_QUEUE, Ingester
from benchmarks.bench.figures import Role, Section, Turn, in_turn
from benchmarks.bench.instruments import raw, wrk
from benchmarks.bench.instruments.wire import Wire
from benchmarks.bench.stage import SMALL, Stage

BATCH = 100
CONNECTIONS = 10
"""With this number 1000 events are in flight, as for the ceiling."""

CASE = f"batches of {BATCH}, {CONNECTIONS} connections, 0.3 kB"
_NDJSON = "application/x-ndjson"


def measure(here: Stage) -> Section:
    """Measure collector and ceiling in turn, each with an empty queue."""
    section = Section(name="batches", title="Ingest in batches")
    line = json.dumps(json.loads(SMALL.content), separators=(",", ":"))
    collector = contestants.collector(here)
    with (
        tempfile.TemporaryDirectory() as directory,
        contestants.running([collector], SMALL),
        Wire(here.broker_url) as wire,
    ):
        batch = Path(directory) / "batch.ndjson"
        batch.write_text(f"{line}\n" * BATCH, encoding="utf-8")
        turns = [
            Turn(name=raw.NAME, role=Role.CEILING, run=partial(_raw_per_s, here, wire)),
            Turn(name=collector.name, role=Role.OURS, run=partial(_events_per_s, here, wire, collector, batch)),
        ]
        section.rows += in_turn(CASE, turns, rounds=here.plan.few_rounds)
    return section


def _events_per_s(here: Stage, wire: Wire, collector: Ingester, batch: Path) -> float:
    here.show_step(f"ingest, {CASE}: {collector.name}")
    headers = collector.headers_for(batch.read_bytes(), content_type=_NDJSON)
    with wire.emptied(LIVE_QUEUE):
        return BATCH * wrk.requests_per_s(
            collector.url, body=batch, headers=headers, connections=CONNECTIONS, for_s=here.plan.for_s
        )


def _raw_per_s(here: Stage, wire: Wire) -> float:
    here.show_step(f"ingest, {CASE}: {raw.NAME}")
    with wire.emptied(LIVE_QUEUE):
        return raw.published_per_s(here, LIVE_QUEUE, for_s=here.plan.for_s)
