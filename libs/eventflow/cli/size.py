"""`eventflow size`: computes what a flow needs, from the limit of its target. docs/sizing.md has the measurements."""

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

import typer
from pydantic import ValidationError

from eventflow.cli.console import out, print_json, table
from eventflow.cli.needs import ACCEPTED_PER_CORE_S, DISK_OVERHEAD_BYTES, MEMORY_BYTES, Load, Needs, needs_of
from eventflow.cli.options import JsonOption
from eventflow.control.overrides import RATE_MAX_PER_S
from eventflow.settings.fields import MIB
from eventflow.settings.target import TargetSettings

HOUR_S = 3600.0
OUTAGE_MAX_H = 10 * 365 * 24.0
PEAK_MAX_PER_S = 1_000_000_000.0


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
    peak_per_s: Annotated[
        float | None,
        typer.Option(
            "--peak", min=0, max=PEAK_MAX_PER_S, help="Events that arrive per second at the peak; by default ARRIVALS."
        ),
    ] = None,
    outage_h: Annotated[
        float, typer.Option("--outage", min=0, max=OUTAGE_MAX_H, help="Hours for which the target may be down.")
    ] = 12.0,
    body_bytes: Annotated[int, typer.Option("--body", min=0, help="Usual size of a body, in bytes.")] = 1000,
    max_body_bytes: Annotated[int, typer.Option("--max-body", min=1, help="MAX_BODY_BYTES of the source.")] = MIB,
    as_json: JsonOption = False,
) -> None:
    """Compute the needs of a flow: attempts in flight, processors, collectors, and RabbitMQ's disk for a backlog.

    The command reads no settings and connects to nothing.
    """
    try:
        target = TargetSettings(rate_per_s=rate, cost=cost, timeout_s=timeout_s)
    except ValidationError as error:
        wrong = error.errors()[0]
        raise typer.BadParameter(f"{wrong['loc'][0]}: {wrong['msg']}") from None
    if arrivals_per_s is None:
        arrivals_per_s = rate / cost / 2
    load = Load(
        answer_s=answer_s,
        arrivals_per_s=arrivals_per_s,
        peak_per_s=arrivals_per_s if peak_per_s is None else peak_per_s,
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


def _rows(needs: Needs, target: TargetSettings, load: Load) -> Iterator[tuple[str, str, str]]:
    rate, arrivals = f"{needs.events_per_s:g} events/s", f"{load.arrivals_per_s:g} events/s"
    timeout = f"{target.timeout_s:g} s"
    event_disk = f"{load.body_bytes} B of body + {DISK_OVERHEAD_BYTES} B"
    yield "attempts in flight", f"{needs.concurrency}", f"{rate} x timeout of {timeout} (CONCURRENCY=auto)"
    yield "events in one processor", f"{needs.held_events}", "PREFETCH=auto, at most 64 MiB / MAX_BODY_BYTES"
    yield (
        "rate of one processor",
        f"{needs.processor_events_per_s:g} events/s",
        f"one core, at answers of {load.answer_s:g} s",
    )
    needed = f"{needs.processors} for the rate, and one more for failures"
    yield "processors", f"{needs.processors_recommended}", needed
    yield (
        "processors for slow answers",
        f"{needs.processors_if_slow}",
        f"if all take {timeout}; more add nothing to the rate",
    )
    peak = f"{load.peak_per_s:g} events/s at the peak, {ACCEPTED_PER_CORE_S} for each core, and one more for failures"
    yield "collectors", f"{needs.collectors_recommended}", peak
    yield "backlog", f"{needs.backlog_events} events", f"{arrivals} x {load.outage_s / HOUR_S:g} h"
    yield "time to empty it", _hours(needs.drain_s), f"at {rate}, while {arrivals} arrive"
    yield "disk of RabbitMQ", _megabytes(needs.disk_bytes), f"{event_disk} for each event, on each node"
    yield "memory of RabbitMQ", _megabytes(needs.memory_bytes), f"{MEMORY_BYTES} B for each event, and its base"


def _hours(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds / HOUR_S:.1f} h"


def _megabytes(size_bytes: int) -> str:
    return f"{math.ceil(size_bytes / 1_000_000)} MB"
