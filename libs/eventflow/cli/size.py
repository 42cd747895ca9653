"""`eventflow size`: computes what a flow needs, from the limit of its target. docs/sizing.md has the measurements."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated

import typer
from pydantic import ValidationError

from eventflow.cli.console import out, print_json, table
from eventflow.cli.options import JsonOption
from eventflow.control.overrides import RATE_MAX_PER_S
from eventflow.settings.auto import concurrency_of, prefetch_of
from eventflow.settings.fields import MIB
from eventflow.settings.target import TargetSettings
from eventflow.topology import Lane

DELIVERED_PER_CORE_S = 8_000
"""The slowest round of the deliveries without a backlog in docs/performance.md, rounded."""

DISK_OVERHEAD_BYTES = 700
"""Of each queued event on RabbitMQ's disk, besides its body: headers, properties and framing."""

MEMORY_BYTES = 50
"""Of each queued event in RabbitMQ's memory, for a body of any size."""

HOUR_S = 3600.0
OUTAGE_MAX_H = 10 * 365 * 24.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The load of a flow.

    Attributes:
        answer_s: Usual time of an answer of the target.
        arrivals_per_s: Events that arrive per second, on average.
        outage_s: Time for which the target may be down.
        body_bytes: Usual size of a body.
        max_body_bytes: The setting `MAX_BODY_BYTES` of the source.
    """

    answer_s: float
    arrivals_per_s: float
    outage_s: float
    body_bytes: int
    max_body_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """The needs of a flow.

    Attributes:
        concurrency: Attempts in flight that keep the rate even if each takes the whole timeout.
        held_events: Live events that one processor holds at a time.
        processors: Number beyond which one more adds nothing to the rate, at the usual time of an answer.
        processors_if_slow: The same if each answer takes the whole timeout.
        backlog_events: Events that wait at the end of an outage.
        drain_s: Time to empty this backlog while events continue to arrive; None if it never empties.
        disk_bytes: Disk space for the backlog on each node of RabbitMQ.
        memory_bytes: Memory for the backlog on each node of RabbitMQ.
    """

    events_per_s: float
    concurrency: int
    held_events: int
    processors: int
    processors_if_slow: int
    backlog_events: int
    drain_s: float | None
    disk_bytes: int
    memory_bytes: int


def size(
    rate: Annotated[float, typer.Option("--rate", help="Limit of the target: quota units per second.")],
    cost: Annotated[float, typer.Option("--cost", help="Units that one attempt costs.")] = 1.0,
    timeout_s: Annotated[float, typer.Option("--timeout", help="Deadline of one attempt, in seconds.")] = 5.0,
    answer_s: Annotated[
        float, typer.Option("--answer", min=0, max=HOUR_S, help="Usual time of an answer, in seconds.")
    ] = 0.5,
    arrivals_per_s: Annotated[
        float | None,
        typer.Option(
            "--arrivals", min=0, max=RATE_MAX_PER_S, help="Events that arrive per second; by default half the rate."
        ),
    ] = None,
    outage_h: Annotated[
        float, typer.Option("--outage", min=0, max=OUTAGE_MAX_H, help="Hours for which the target may be down.")
    ] = 12.0,
    body_bytes: Annotated[int, typer.Option("--body", min=0, help="Usual size of a body, in bytes.")] = 1000,
    max_body_bytes: Annotated[int, typer.Option("--max-body", min=1, help="MAX_BODY_BYTES of the source.")] = MIB,
    as_json: JsonOption = False,
) -> None:
    """Compute the needs of a flow: attempts in flight, processors, and RabbitMQ's disk and memory for a backlog.

    The command reads no settings and connects to nothing.
    """
    try:
        target = TargetSettings(rate_per_s=rate, cost=cost, timeout_s=timeout_s)
    except ValidationError as error:
        wrong = error.errors()[0]
        raise typer.BadParameter(f"{wrong['loc'][0]}: {wrong['msg']}") from None
    load = Load(
        answer_s=answer_s,
        arrivals_per_s=rate / cost / 2 if arrivals_per_s is None else arrivals_per_s,
        outage_s=outage_h * HOUR_S,
        body_bytes=body_bytes,
        max_body_bytes=max_body_bytes,
    )
    needs = needs_of(target, rate / cost, load)
    if as_json:
        print_json(asdict(needs))
        return
    shown = table("need", "value", "reason")
    for row in _rows(needs, target, load):
        shown.add_row(*row)
    out.print(shown)


def needs_of(target: TargetSettings, events_per_s: float, load: Load) -> Needs:
    """Compute the needs of a flow that delivers at most `events_per_s`."""
    held = prefetch_of(target, configured=None, max_body_bytes=load.max_body_bytes)[Lane.LIVE]
    backlog = math.ceil(load.arrivals_per_s * load.outage_s)
    spare_per_s = events_per_s - load.arrivals_per_s
    return Needs(
        events_per_s=events_per_s,
        concurrency=concurrency_of(target),
        held_events=held,
        processors=_processors(events_per_s, load.answer_s, held),
        processors_if_slow=_processors(events_per_s, target.timeout_s, held),
        backlog_events=backlog,
        drain_s=backlog / spare_per_s if spare_per_s > 0 else None,
        disk_bytes=backlog * (load.body_bytes + DISK_OVERHEAD_BYTES),
        memory_bytes=backlog * MEMORY_BYTES,
    )


def _processors(events_per_s: float, answer_s: float, held: int) -> int:
    """Return the number of processors that reach a rate: each has one core, and holds a number of events."""
    return max(1, math.ceil(events_per_s / DELIVERED_PER_CORE_S), math.ceil(events_per_s * answer_s / held))


def _rows(needs: Needs, target: TargetSettings, load: Load) -> Iterator[tuple[str, str, str]]:
    rate, arrivals = f"{needs.events_per_s:g} events/s", f"{load.arrivals_per_s:g} events/s"
    timeout = f"{target.timeout_s:g} s"
    event_disk = f"{load.body_bytes} B of body + {DISK_OVERHEAD_BYTES} B"
    yield "attempts in flight", f"{needs.concurrency}", f"{rate} x timeout of {timeout} (CONCURRENCY=auto)"
    yield "events in one processor", f"{needs.held_events}", "PREFETCH=auto, at most 64 MiB / MAX_BODY_BYTES"
    yield "processors", f"{needs.processors}", f"at answers of {load.answer_s:g} s; add one for failures"
    yield "processors if slow", f"{needs.processors_if_slow}", f"at answers of {timeout}; more add nothing"
    yield "backlog", f"{needs.backlog_events} events", f"{arrivals} x {load.outage_s / HOUR_S:g} h"
    yield "time to empty it", _hours(needs.drain_s), f"at {rate}, while {arrivals} arrive"
    yield "disk of RabbitMQ", _megabytes(needs.disk_bytes), f"{event_disk} for each event, on each node"
    yield "memory of RabbitMQ", _megabytes(needs.memory_bytes), f"{MEMORY_BYTES} B for each event, and its base"


def _hours(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds / HOUR_S:.1f} h"


def _megabytes(size_bytes: int) -> str:
    return f"{math.ceil(size_bytes / 1_000_000)} MB"
