"""From the queue to a target that costs almost nothing: how many requests reach it per second."""

import time
from functools import partial

from benchmarks.bench import contestants
from benchmarks.bench.contestants import Deliverer, last_words
from benchmarks.bench.figures import MeasureError, Row, Section, interleaved
from benchmarks.bench.messages import frames
from benchmarks.bench.sink import Count, read_count
from benchmarks.bench.stage import SMALL, Stage, sink
from benchmarks.bench.wire import Wire
from sandbox.processes import wait_until

CASE = "64 at once, 0.3 kB"
FIRST_WITHIN_S = 30.0
SETTLES_S = 1.0
NEARLY_ALL = 0.97
POLL_S = 0.02


def measure(here: Stage) -> Section:
    """Let each in turn drain what was queued for it before it started."""
    section = Section(name="delivery", title="Delivery, unlimited rate")
    with sink() as target_url, Wire(here.broker_url) as wire:
        deliverers = [
            contestants.delivery_ceiling(target_url, SMALL.path),
            contestants.processor(here, target_url),
            *contestants.delivery_peers(here, target_url),
        ]
        for deliverer in deliverers:
            contestants.declare(wire, deliverer)
        samples = interleaved(deliverers, here.plan.few_rounds, partial(_drained_per_s, here, wire, target_url))
    section.rows += [
        Row(case=CASE, name=one.name, role=one.role, samples=samples[one], known=one.known) for one in deliverers
    ]
    return section


def _drained_per_s(here: Stage, wire: Wire, target_url: str, deliverer: Deliverer) -> float:
    here.tell(f"delivery: {deliverer.name}")
    queued = round(deliverer.most_per_s * (here.plan.for_s + SETTLES_S))
    if deliverer.queue is not None:
        wire.purge(deliverer.queue)
        message = frames(deliverer.shape, SMALL.content, queue=deliverer.queue)
        wire.publish(message, in_flight=1000, count=queued, for_s=None)
    return delivered_per_s(deliverer, target_url, for_s=here.plan.for_s, queued=queued)


def delivered_per_s(deliverer: Deliverer, target_url: str, *, for_s: float, queued: int) -> float:
    """Run one and return what it delivers per second once it does, until the time is over or its queue is drained.

    Raises:
        MeasureError: It delivered nothing, or all too soon.
    """
    drained = read_count(target_url).requests + round(queued * NEARLY_ALL)
    with deliverer.process:
        first = _settled(deliverer, target_url)
        last = first
        while last.at_s - first.at_s < for_s and last.requests < drained:
            time.sleep(POLL_S)
            last = read_count(target_url)
        deliverer.process.kill()  # the rest is not wanted any more
    if last.at_s - first.at_s < for_s / 2:
        raise MeasureError(f"{deliverer.name} had drained its queue before it could be measured")
    return (last.requests - first.requests) / (last.at_s - first.at_s)


def _settled(deliverer: Deliverer, target_url: str) -> Count:
    """Wait for its first deliveries and let it find its pace."""
    before, process = read_count(target_url), deliverer.process
    try:
        wait_until(
            lambda: read_count(target_url).requests > before.requests or not process.alive,
            timeout_s=FIRST_WITHIN_S,
            what="a delivery",
        )
    except TimeoutError as error:
        raise MeasureError(last_words(process, str(error))) from error
    time.sleep(SETTLES_S)
    if not process.alive:
        raise MeasureError(last_words(process, f"{deliverer.name} ended with {process.returncode}"))
    return read_count(target_url)
