"""Rates into the collector's spool while the broker is down, and out of it afterwards."""

import tempfile
import time

from benchmarks.bench import contestants
from benchmarks.bench.contestants import LIVE_QUEUE, Ingester
from benchmarks.bench.figures import MeasureError, Role, Row, Section
from benchmarks.bench.instruments import wrk
from benchmarks.bench.instruments.loopback import get
from benchmarks.bench.instruments.wire import Wire
from benchmarks.bench.stage import SMALL, Stage

CONNECTIONS = 64
CASE = f"{CONNECTIONS} connections, 0.3 kB"
EMPTIED_WITHIN_S = 120.0
POLL_S = 0.02
_METRIC = "eventflow_spool_events"


def measure(here: Stage) -> Section:
    """Kill the broker, load the collector, start the broker and wait until the spool is empty; repeat."""
    section = Section(name="spool", title="Spool")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        collector = contestants.collector(here, EVENTFLOW_COLLECTOR__SPOOL_DIR=directory)
        with contestants.running([collector], SMALL):
            try:
                rounds = [
                    (_filled_per_s(here, collector), _emptied_per_s(here, collector))
                    for _ in range(here.plan.few_rounds)
                ]
            finally:
                if not here.node.alive:
                    here.node.start()
    section.rows += [
        Row(case=CASE, name=name, role=Role.OURS, samples=samples)
        for name, samples in zip(
            ("into it, broker down", "out of it, broker back"), zip(*rounds, strict=True), strict=True
        )
    ]
    return section


def _filled_per_s(here: Stage, collector: Ingester) -> float:
    here.show_step("spool: filling it")
    here.node.kill()
    contestants.wait_ready(collector, SMALL)
    headers = collector.headers_for(SMALL.content)
    return wrk.requests_per_s(
        collector.url, body=SMALL.path, headers=headers, connections=CONNECTIONS, for_s=here.plan.for_s
    )


def _emptied_per_s(here: Stage, collector: Ingester) -> float:
    here.show_step("spool: emptying it")
    filled = _spooled(collector)
    here.node.start()
    deadline_s = time.monotonic() + EMPTIED_WITHIN_S
    began_s, began = time.monotonic(), filled
    while (left := _spooled(collector)) > 0:
        if left == filled:
            began_s, began = time.monotonic(), left  # the collector has not started to publish
        if time.monotonic() > deadline_s:
            raise MeasureError(f"{left:.0f} events are still in the spool after {EMPTIED_WITHIN_S:.0f} s")
        time.sleep(POLL_S)
    per_s = began / (time.monotonic() - began_s)
    with Wire(here.broker_url) as wire:
        wire.purge(LIVE_QUEUE)
    return per_s


def _spooled(collector: Ingester) -> float:
    lines = get(collector.metrics_url or "").decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{_METRIC} ", f"{_METRIC}{{")))
