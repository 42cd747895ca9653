"""Rate of delivery from a queue to a target that costs almost nothing."""

import time
from functools import partial

from benchmarks.bench.contestants import deliverers, names
from benchmarks.bench.contestants.deliverers import Deliverer
from benchmarks.bench.figures import MeasureError, Sample, Section, Turn, in_turn
from benchmarks.bench.instruments import certificate
from benchmarks.bench.instruments.messages import frames
from benchmarks.bench.instruments.sink import Count, read_count
from benchmarks.bench.instruments.wire import Wire
from benchmarks.bench.stage import SMALL, Stage, sink
from benchmarks.bench.watch import Watch
from sandbox.ports import LOOPBACK, free_port
from sandbox.processes import wait_until

CASE = "64 at once, 0.3 kB"
FIRST_WITHIN_S = 30.0
SETTLES_S = 1.0
NEARLY_ALL = 0.97
POLL_S = 0.02


def measure(here: Stage) -> Section:
    """Let each program in turn deliver a backlog that was queued before its start."""
    section = Section(name="delivery", title="Delivery, unlimited rate")
    tls_port = free_port()
    with (
        certificate.made() as pem,
        sink("--tls-port", str(tls_port), "--pem", str(pem)) as target_url,
        Wire(here.broker_url) as wire,
    ):
        tls_url = f"https://{LOOPBACK}:{tls_port}"
        compared = [
            deliverers.ceiling(target_url, SMALL.path),
            deliverers.processor(here, target_url),
            deliverers.processor(here, tls_url, name=names.OVER_TLS, SSL_CERT_FILE=str(pem)),
            *deliverers.go_peers(here, target_url),
            *deliverers.peers(here, target_url),
        ]
        for deliverer in compared:
            deliverers.declare(wire, deliverer)
        turns = [
            Turn(name=one.name, role=one.role, run=partial(_drain, here, wire, target_url, one), known=one.known)
            for one in compared
        ]
        section.rows += in_turn(CASE, turns, rounds=here.plan.few_rounds)
    return section


def _drain(here: Stage, wire: Wire, target_url: str, deliverer: Deliverer) -> Sample:
    here.show_step(f"delivery: {deliverer.name}")
    queued = wanted(deliverer, for_s=here.plan.for_s)
    with wire.emptied(deliverer.queue):
        if deliverer.queue is not None:
            message = frames(deliverer.shape, SMALL.content, queue=deliverer.queue)
            wire.publish(message, in_flight=1000, count=queued)
            time.sleep(SETTLES_S)  # the broker still writes for a while after the last confirm
        return drained(deliverer, target_url, for_s=here.plan.for_s, queued=queued)


def wanted(deliverer: Deliverer, *, for_s: float) -> int:
    """Return the number of events to queue, so that the program does not run out of them."""
    return round(deliverer.most_per_s * (for_s + SETTLES_S))


def drained(deliverer: Deliverer, target_url: str, *, for_s: float, queued: int) -> Sample:
    """Run a program and measure its rate once it delivers, until the time is over or its queue is nearly empty.

    Raises:
        MeasureError: The program delivered nothing, or emptied its queue too early.
    """
    end = read_count(target_url).requests + round(queued * NEARLY_ALL)
    with deliverer.process:
        first = settled(deliverer, target_url)
        watch, last = Watch(deliverer.process), first
        while last.at_s - first.at_s < for_s and last.requests < end:
            time.sleep(POLL_S)
            last = read_count(target_url)
        delivered, for_s_measured = last.requests - first.requests, last.at_s - first.at_s
        if for_s_measured < for_s / 2:
            raise MeasureError(f"{deliverer.name} emptied its queue before it could be measured")
        sample = watch.sample(delivered / for_s_measured, events=delivered)
        deliverer.process.kill()  # the rest of the queue is not needed
    return sample


def settled(deliverer: Deliverer, target_url: str) -> Count:
    """Wait for the first deliveries, and then until the rate is stable.

    Raises:
        MeasureError: The program delivered nothing.
    """
    before, process = read_count(target_url), deliverer.process
    try:
        wait_until(
            lambda: read_count(target_url).requests > before.requests or not process.alive,
            timeout_s=FIRST_WITHIN_S,
            what="a delivery",
        )
    except TimeoutError as error:
        raise MeasureError(process.explain(str(error))) from error
    time.sleep(SETTLES_S)
    if not process.alive:
        raise MeasureError(process.explain(f"{deliverer.name} ended with {process.returncode}"))
    return read_count(target_url)
