"""Ceilings of the broker: `wire` in a separate process."""

import json
from collections.abc import Mapping

from benchmarks.bench import stage
from benchmarks.bench.figures import MeasureError, Sample
from benchmarks.bench.instruments.paced import WARM_UP_S
from benchmarks.bench.stage import SMALL, Stage

PROGRAM = "raw AMQP frames"
PREFETCH = 128
"""Prefetch of a processor without a rate limit."""

WITHIN_S = 120.0


def name(in_flight: int) -> str:
    """Return the name of a publisher with so many unconfirmed messages."""
    return f"{PROGRAM}, {in_flight} in flight"


def published(
    here: Stage, queue: str, *, in_flight: int, for_s: float | None = None, count: int | None = None
) -> Sample:
    """Publish messages of our collector for a time or up to a count; return the confirmed messages per second."""
    options = (str(in_flight), *_bounds(for_s, count))
    return _sample("publish", here.broker_url, queue, str(SMALL.path), *options)


def consumed(here: Stage, queue: str, *, count: int) -> Sample:
    """Consume and ack `count` messages; return the messages per second."""
    return _sample("consume", here.broker_url, queue, str(PREFETCH), *_bounds(None, count))


def paced(here: Stage, queue: str, *, in_flight: int, rate_per_s: float, for_s: float) -> Mapping[str, float]:
    """Publish messages on schedule; return percentiles of the time until the confirm, as `paced` does for the 202."""
    options = map(str, (in_flight, rate_per_s, WARM_UP_S, for_s))
    return _run("pace", here.broker_url, queue, str(SMALL.path), *options)


def _bounds(for_s: float | None, count: int | None) -> list[str]:
    return ["--for-s", str(for_s)] if count is None else ["--count", str(count)]


def _sample(*arguments: str) -> Sample:
    done = _run(*arguments)
    return Sample(done["events"] / done["seconds"], cpu_us=done["cpu_s"] / done["events"] * 1e6)


def _run(*arguments: str) -> dict[str, float]:
    with stage.own(PROGRAM, "benchmarks.bench.instruments.wire", *arguments) as process:
        status = process.wait(WITHIN_S)
    output = process.tail(1)
    if status != 0:
        raise MeasureError(f"{PROGRAM}: ended with {status}: {' '.join(output)}")
    result: dict[str, float] = json.loads(output[0])
    return result
