"""The chart of a flow: events in, delivered, deferred and failed per minute, as an SVG. Pure.

The SVG has no text, so it can be stretched to any width; the page sets the labels beside it. It is made of numbers
only, so that no text from outside can be a part of it.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from markupsafe import Markup

from eventflow.history.records import DURATION_BUCKETS_S, MinuteCount
from eventflow_console.past import MINUTE, Past, Span, Step, steps_of

_HEIGHT: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart, with the texts that the page sets beside it.

    Attributes:
        ceiling: The value at the upper edge; it is a round number.
        half_s: Half of the attempts took at most this time, by the bounds of the buckets; infinite above the last.
        most_s: 95 of 100 attempts took at most this time.
    """

    span: Span
    steps: Sequence[Step]
    ceiling: float
    svg: Markup
    half_s: float | None = None
    most_s: float | None = None

    def total(self, name: str) -> int | None:
        """Return the sum of `accepted`, `delivered`, `failed`, `deferred` or `missing`; None if all are unknown."""
        known = [value for step in self.steps if (value := getattr(step, name)) is not None]
        return sum(known) if known else None

    @property
    def is_known(self) -> bool:
        """Whether any value is known."""
        return any(self.total(name) is not None for name in ("accepted", "delivered"))

    @property
    def ticks(self) -> Sequence[datetime]:
        """Times at the lower edge, at equal distances, from its left end to its right end."""
        step, quarter = self.span.step_minutes * MINUTE, self.span.steps // 4
        return [self.steps[0].start + step * quarter * number for number in range(5)]


def chart_of(past: Past, span: Span, now: datetime) -> Chart:
    """Return the chart of a flow."""
    steps = steps_of(past, span, now)
    ceiling = _ceiling(max((value for step in steps for value in _heights(step)), default=0.0))
    half_s, most_s = durations_of(past.counts or ())
    return Chart(span=span, steps=steps, ceiling=ceiling, svg=_svg(steps, ceiling), half_s=half_s, most_s=most_s)


def durations_of(counts: Iterable[MinuteCount]) -> tuple[float | None, float | None]:
    """Return the median and the 95th percentile of the durations, in seconds; None without attempts."""
    buckets = [0] * (len(DURATION_BUCKETS_S) + 1)
    for count in counts:
        buckets[min(count.key.bucket, len(DURATION_BUCKETS_S))] += count.attempts
    return _quantile(buckets, 0.5), _quantile(buckets, 0.95)


def _quantile(buckets: Sequence[int], part: float) -> float | None:
    wanted, seen = sum(buckets) * part, 0
    for bound_s, attempts in zip((*DURATION_BUCKETS_S, math.inf), buckets, strict=True):
        seen += attempts
        if attempts and seen >= wanted:
            return bound_s
    return None


def _heights(step: Step) -> Iterator[float]:
    for count in (step.accepted, step.delivered, (step.failed or 0) + (step.deferred or 0)):
        yield step.per_minute(count) or 0.0


def _ceiling(highest: float) -> float:
    """Return a round number that is not below the highest value; its half is a readable label too."""
    if highest <= 0:
        return 2
    power = 10.0 ** math.floor(math.log10(highest))
    return next(power * factor for factor in (1, 2, 4, 6, 8, 10) if power * factor >= highest * (1 - 1e-9))


def _svg(steps: Sequence[Step], ceiling: float) -> Markup:
    """Draw the delivered as an area, the accepted as a line, and the failed and deferred as bars on each other.

    So the series differ by their form too, and not by their colour alone. A step that is not over has bars only,
    because a line to its growing counts would look like a fall.
    """

    def y(value: float) -> float:
        return _HEIGHT - _HEIGHT * value / ceiling

    def runs(of: Callable[[Step], int | None]) -> Iterator[list[tuple[float, float]]]:
        """Yield the points of each run of known values: a line through an unknown value would be a claim."""
        run: list[tuple[float, float]] = []
        for number, step in enumerate(steps):
            if (value := step.per_minute(of(step))) is not None and not step.is_open:
                run.append((number + 0.5, y(value)))
            elif run:
                yield run
                run = []
        if run:
            yield run

    bars: dict[str, list[str]] = {"gap": [], "open": [], "failed": [], "deferred": []}
    for number, step in enumerate(steps):
        failed, deferred = step.per_minute(step.failed) or 0.0, step.per_minute(step.deferred) or 0.0
        bars["gap"] += [f"M{number} 0h1V{_HEIGHT}h-1z"] if step.is_partial else []
        if step.is_open:  # wider than the other bars, which stand in front of it
            bars["open"] += _bar(number, _HEIGHT, y(step.per_minute(step.delivered) or 0.0), width=1)
        bars["failed"] += _bar(number, _HEIGHT, y(failed))
        bars["deferred"] += _bar(number, y(failed), y(failed + deferred))
    delivered = [_wide(run) for run in runs(lambda step: step.delivered)]
    accepted = [_wide(run) for run in runs(lambda step: step.accepted)]
    paths = {
        "gap": bars["gap"],
        "grid": [f"M0 {_HEIGHT / 2:g}H{len(steps)}M0 0H{len(steps)}M0 {_HEIGHT}H{len(steps)}"],
        "area delivered": [f"{_line(run)}V{_HEIGHT}H{run[0][0]:g}Z" for run in delivered],
        "line delivered": [_line(run) for run in delivered],
        "bar open": bars["open"],
        "bar failed": bars["failed"],
        "bar deferred": bars["deferred"],
        "line accepted": [_line(run) for run in accepted],
    }
    drawn = "".join(f'<path class="{kind}" d="{"".join(parts)}"/>' for kind, parts in paths.items() if parts)
    view = f'viewBox="0 0 {len(steps)} {_HEIGHT}" preserveAspectRatio="none"'
    return Markup(f'<svg {view} aria-hidden="true" focusable="false">{drawn}</svg>')  # noqa: S704 - numbers only


def _wide(run: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points of a run from the left end of its first step to the right end of its last one."""
    (first_x, first_y), (last_x, last_y) = run[0], run[-1]
    return [(first_x - 0.5, first_y), *run, (last_x + 0.5, last_y)]


def _line(points: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:.1f}".removesuffix(".0") for x, y in points)


def _bar(number: int, bottom: float, top: float, *, width: float = 0.7) -> list[str]:
    left = number + (1 - width) / 2
    return [f"M{left:g} {bottom:.1f}V{top:.1f}h{width:g}V{bottom:.1f}z"] if bottom - top >= 0.05 else []
