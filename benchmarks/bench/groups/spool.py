"""Rates into the collector's spool while the broker is down, and out of it afterwards."""

import tempfile
import time

from benchmarks.bench.contestants import ingesters
from benchmarks.bench.contestants.ingesters import Ingester
from benchmarks.bench.figures import MeasureError, Role, Row, Sample, Section
from benchmarks.bench.instruments.loopback import get
from benchmarks.bench.instruments.wire import Wire
from benchmarks.bench.stage import LIVE_QUEUE, SMALL, Stage
from benchmarks.bench.watch import Watch
from sandbox.broker.node import PrivateNode

CONNECTIONS = 64
CASE = f"{CONNECTIONS} connections, 0.3 kB"
EMPTIED_WITHIN_S = 120.0
POLL_S = 0.02
_METRIC = "eventflow_spool_events"


def measure(here: Stage) -> Section:
    """Kill the broker, load the collector, start the broker and wait until the spool is empty; repeat.

    Raises:
        MeasureError: The broker is not one that the benchmark started.
    """
    if here.node is None:
        raise MeasureError("the spool needs a broker that the benchmark may kill, so none that the environment names")
    section = Section(name="spool", title="Spool")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        collector = ingesters.collector(here, EVENTFLOW_COLLECTOR__SPOOL_DIR=directory)
        with ingesters.running([collector], SMALL):
            try:
                rounds = [
                    (_filled(here, here.node, collector), _emptied(here, here.node, collector))
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


def _filled(here: Stage, node: PrivateNode, collector: Ingester) -> Sample:
    here.show_step("spool: filling it")
    node.kill()
    ingesters.wait_ready(collector, SMALL)
    return collector.load(here, SMALL.path, collector.headers_for(SMALL.content), connections=CONNECTIONS)


def _emptied(here: Stage, node: PrivateNode, collector: Ingester) -> Sample:
    here.show_step("spool: emptying it")
    filled = _spooled(collector)
    node.start()
    deadline_s = time.monotonic() + EMPTIED_WITHIN_S
    began_s, began, watch = time.monotonic(), filled, Watch(collector.process)
    while (left := _spooled(collector)) > 0:
        if left == filled:
            began_s, began, watch = time.monotonic(), left, Watch(collector.process)  # publishing has not started
        if time.monotonic() > deadline_s:
            raise MeasureError(f"{left:.0f} events are still in the spool after {EMPTIED_WITHIN_S:.0f} s")
        time.sleep(POLL_S)
    sample = watch.sample(began / (time.monotonic() - began_s), events=round(began))
    with Wire(here.broker_url) as wire:
        wire.purge(LIVE_QUEUE)
    return sample


def _spooled(collector: Ingester) -> float:
    lines = get(collector.metrics_url or "").decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{_METRIC} ", f"{_METRIC}{{")))
