"""Rate of delivery from a queue to a target that costs almost nothing."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from benchmarks.bench.contestants import deliverers, names
from benchmarks.bench.contestants.deliverers import Deliverer
from benchmarks.bench.figures import MeasureError, Row, Sample, Section, Turn, in_turn, rows_at_once
from benchmarks.bench.instruments import certificate
from benchmarks.bench.instruments.messages import frames
from benchmarks.bench.instruments.sink import Count, read_count
from benchmarks.bench.instruments.wire import Wire
from benchmarks.bench.stage import LIVE_QUEUE, SMALL, Stage, sink
from benchmarks.bench.watch import Watch
from sandbox.ports import LOOPBACK, free_port
from sandbox.processes import wait_until

CASE = "64 at once, 0.3 kB"
TLS_CASE = f"{CASE} each: two processors loaded at once"
FIRST_WITHIN_S = 30.0
SETTLES_S = 1.0
NEARLY_ALL = 0.97
POLL_S = 0.02


def measure(here: Stage) -> Section:
    """Let each program in turn deliver a backlog that was queued before its start; then measure the cost of TLS."""
    section = Section(name="delivery", title="Delivery, unlimited rate")
    with sink() as target_url, Wire(here.broker_url) as wire:
        compared = [
            deliverers.ceiling(target_url, SMALL.path),
            deliverers.processor(here, target_url),
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
        section.rows += _over_tls(here, wire, target_url)
    return section


def _over_tls(here: Stage, wire: Wire, target_url: str) -> Sequence[Row]:
    here.show_step(f"delivery: {names.OVER_TLS}")
    port = free_port()
    with certificate.made() as pem, sink("--tls-port", str(port), "--pem", str(pem)) as counting_url:
        plain = deliverers.processor(here, target_url)
        encrypted = deliverers.processor(
            here, f"https://{LOOPBACK}:{port}", name=names.OVER_TLS, SSL_CERT_FILE=str(pem)
        )
        pair = ((plain, target_url), (encrypted, counting_url))
        samples = delivered_at_once(here, wire, pair, rounds=2 * here.plan.rounds)
    return rows_at_once(TLS_CASE, (plain.name, encrypted.name), samples)


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


def delivered_at_once(
    here: Stage,
    wire: Wire,
    pair: Sequence[tuple[Deliverer, str]],
    *,
    rounds: int,
    check: Callable[[], None] = lambda: None,
) -> Sequence[Sequence[Sample]]:
    """Let two processors share one queue, which is filled again for each round; return the samples of each round.

    Their costs differ by a few percent, while the speed of a machine may change by a third within seconds. So they are
    loaded at once and not in turn: other work affects both, and each gets half of the machine.

    Args:
        pair: Each processor, and the URL at which its own target shows its count.
        check: Called at the end of each round, while both still run.
    """
    message = frames("ours", SMALL.content, queue=LIVE_QUEUE)
    samples = []
    with ExitStack() as stack, wire.emptied(LIVE_QUEUE):
        for processor, _ in pair:
            processor.process.start()
            stack.callback(processor.process.kill)
        count = max(wanted(processor, for_s=here.plan.for_s) for processor, _ in pair)
        wire.publish(message, in_flight=1000, count=count)
        for processor, url in pair:
            settled(processor, url)
        for _ in range(rounds):
            wire.publish(message, in_flight=1000, count=max(0, count - wire.depth(LIVE_QUEUE)))
            samples.append(_delivered(pair, for_s=here.plan.for_s))
            check()
    return samples


def _delivered(pair: Sequence[tuple[Deliverer, str]], *, for_s: float) -> Sequence[Sample]:
    """Return the rate of each processor at its own target, in the same time.

    Raises:
        MeasureError: One of them delivered nothing.
    """
    before = [(Watch(processor.process), read_count(url)) for processor, url in pair]
    time.sleep(for_s)
    samples = []
    for (processor, url), (watch, first) in zip(pair, before, strict=True):
        last = read_count(url)
        events = last.requests - first.requests
        if events == 0:
            raise MeasureError(processor.process.explain(f"{processor.name} delivered nothing"))
        samples.append(watch.sample(events / (last.at_s - first.at_s), events=events))
    return samples
