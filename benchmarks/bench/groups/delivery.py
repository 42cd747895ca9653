"""From the queue to a target that costs almost nothing: how many requests reach it per second."""

import time
from dataclasses import dataclass
from functools import partial

from benchmarks.bench import contestants
from benchmarks.bench.contestants import Deliverer, last_words
from benchmarks.bench.figures import MeasureError, Section, Turn, in_turn
from benchmarks.bench.instruments.messages import frames
from benchmarks.bench.instruments.sink import Count, read_count
from benchmarks.bench.instruments.wire import Wire
from benchmarks.bench.stage import SMALL, Stage, sink
from sandbox.processes import wait_until

CASE = "64 at once, 0.3 kB"
FIRST_WITHIN_S = 30.0
SETTLES_S = 1.0
NEARLY_ALL = 0.97
POLL_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """How fast one delivered, and what memory it took at the end."""

    per_s: float
    resident_mb: float


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
        turns = [
            Turn(
                name=one.name, role=one.role, run=partial(_drained_per_s, here, wire, target_url, one), known=one.known
            )
            for one in deliverers
        ]
        section.rows += in_turn(CASE, turns, rounds=here.plan.few_rounds)
    return section


def _drained_per_s(here: Stage, wire: Wire, target_url: str, deliverer: Deliverer) -> float:
    here.tell(f"delivery: {deliverer.name}")
    queued = wanted(deliverer, for_s=here.plan.for_s)
    with wire.emptied(deliverer.queue):
        if deliverer.queue is not None:
            message = frames(deliverer.shape, SMALL.content, queue=deliverer.queue)
            wire.publish(message, in_flight=1000, count=queued)
            time.sleep(SETTLES_S)  # the broker goes on writing for a while, the longer the more was queued
        return drained(deliverer, target_url, for_s=here.plan.for_s, queued=queued).per_s


def wanted(deliverer: Deliverer, *, for_s: float) -> int:
    """Return how many events must be queued for it, so that it does not run out of them."""
    return round(deliverer.most_per_s * (for_s + SETTLES_S))


def drained(deliverer: Deliverer, target_url: str, *, for_s: float, queued: int) -> Drained:
    """Run one and see how fast it delivers once it does, until the time is over or its queue is drained.

    Raises:
        MeasureError: It delivered nothing, or all too soon.
    """
    end = read_count(target_url).requests + round(queued * NEARLY_ALL)
    with deliverer.process:
        first = _settled(deliverer, target_url)
        last = first
        while last.at_s - first.at_s < for_s and last.requests < end:
            time.sleep(POLL_S)
            last = read_count(target_url)
        resident_mb = contestants.resident_mb(deliverer.process)
        deliverer.process.kill()  # the rest is not wanted any more
    if last.at_s - first.at_s < for_s / 2:
        raise MeasureError(f"{deliverer.name} had drained its queue before it could be measured")
    per_s = (last.requests - first.requests) / (last.at_s - first.at_s)
    return Drained(per_s=per_s, resident_mb=resident_mb)


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
