"""Ceilings of the broker: `wire` in a separate process."""

import json

from benchmarks.bench import stage
from benchmarks.bench.figures import MeasureError
from benchmarks.bench.stage import SMALL, Stage

NAME = "raw AMQP frames, 1000 in flight"
PREFETCH = 128
"""Prefetch of a processor without a rate limit."""

WITHIN_S = 120.0


def published_per_s(here: Stage, queue: str, *, for_s: float | None = None, count: int | None = None) -> float:
    """Publish messages of our collector for a time or up to a count; return the confirmed messages per second."""
    return _per_s("publish", here.broker_url, queue, str(SMALL.path), *_bounds(for_s, count))


def consumed_per_s(here: Stage, queue: str, *, count: int) -> float:
    """Consume and ack `count` messages; return the messages per second."""
    return _per_s("consume", here.broker_url, queue, "--prefetch", str(PREFETCH), *_bounds(None, count))


def _bounds(for_s: float | None, count: int | None) -> list[str]:
    return ["--for-s", str(for_s)] if count is None else ["--count", str(count)]


def _per_s(*arguments: str) -> float:
    with stage.own(NAME, "benchmarks.bench.instruments.wire", *arguments) as process:
        status = process.wait(WITHIN_S)
    output = process.tail(1)
    if status != 0:
        raise MeasureError(f"{NAME}: ended with {status}: {' '.join(output)}")
    done = json.loads(output[0])
    return float(done["events"] / done["seconds"])
