"""Measurements, and comparisons between them. Pure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median, quantiles
from typing import TypeVar

FAR_BELOW = 0.6
"""A peer below this share of its lowest known figure was not measured fairly."""

EVENTS_PER_S = "events/s"

T = TypeVar("T")


class MeasureError(Exception):
    """A measurement failed; the text gives the reason."""


class Role(StrEnum):
    """Role of a row in the comparison."""

    CEILING = "ceiling"
    OURS = "ours"
    PEER = "peer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Range of a program's earlier figures, on an idle machine with 2 cores."""

    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement of a program.

    Attributes:
        figure: Rate, time, size or ratio, in the unit of its row.
        cpu_us: CPU time of the program for one event; None if it is unknown.
        resident_mb: Its resident memory at the end of the measurement; None if it is unknown.
    """

    figure: float
    cpu_us: float | None = None
    resident_mb: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One program in one case.

    Attributes:
        samples: One for each round.
        unit: `events/s`, `ms` or `MB`; empty for a ratio.
        known: Earlier figures to compare the median with; None if there are none.
    """

    case: str
    name: str
    role: Role
    samples: Sequence[Sample]
    unit: str = EVENTS_PER_S
    known: Known | None = None

    @property
    def figures(self) -> Sequence[float]:
        """Figures of the samples."""
        return [sample.figure for sample in self.samples]

    @property
    def cpu_us(self) -> Sequence[float]:
        """CPU times of the samples; empty if one of them is unknown."""
        return _all_known(sample.cpu_us for sample in self.samples)

    @property
    def resident_mb(self) -> Sequence[float]:
        """Memory of the samples; empty if one of them is unknown."""
        return _all_known(sample.resident_mb for sample in self.samples)

    @property
    def value(self) -> float:
        """Median of the figures."""
        return median(self.figures)

    @property
    def is_far_below(self) -> bool:
        """Whether it is so far below its known range that the machine must have been busy with other work."""
        return self.known is not None and self.value < FAR_BELOW * self.known.least


@dataclass(slots=True, kw_only=True)
class Section:
    """Rows of one group, and the reasons for missing rows."""

    name: str
    title: str
    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def counts(self) -> bool:
        """Whether everything was measured, on a machine without other work."""
        return not self.problems and not any(row.is_far_below for row in self.rows)

    def of_case(self, case: str) -> Sequence[Row]:
        """Return the rows of a case."""
        return [row for row in self.rows if row.case == case]

    def beside(self, row: Row) -> Sequence[Row]:
        """Return all rows of the same case and unit."""
        return [other for other in self.of_case(row.case) if other.unit == row.unit]

    def row(self, case: str, name: str) -> Row | None:
        """Return the row of a program in a case."""
        return next((row for row in self.of_case(case) if row.name == name), None)

    def of_ceiling(self, row: Row) -> float | None:
        """Return a row's share of the ceiling of its case."""
        ceiling = next((other for other in self.beside(row) if other.role is Role.CEILING), None)
        return ratio(row.figures, ceiling.figures) if ceiling is not None and ceiling is not row else None

    def times_peer(self, row: Row) -> float | None:
        """Return our figure divided by the peer's."""
        ours = next((other for other in self.beside(row) if other.role is Role.OURS), None)
        return ratio(ours.figures, row.figures) if ours is not None and row.role is Role.PEER else None


def ratio(figures: Sequence[float], others: Sequence[float]) -> float | None:
    """Return the median, over the rounds, of one program's figure divided by the other's; None without figures.

    Rounds are compared one by one because other work on the machine slows all turns of a round.
    """
    return median(one / other for one, other in zip(figures, others, strict=True)) if figures and others else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Measurement of one program, which can be repeated."""

    name: str
    role: Role
    run: Callable[[], Sample]
    known: Known | None = None


def in_turn(case: str, turns: Sequence[Turn], *, rounds: int, unit: str = EVENTS_PER_S) -> list[Row]:
    """Measure all programs in turn; return a row for each."""
    return [
        Row(case=case, name=turn.name, role=turn.role, samples=samples, unit=unit, known=turn.known)
        for turn, samples in zip(turns, take_turns([turn.run for turn in turns], rounds=rounds), strict=True)
    ]


def take_turns(runs: Sequence[Callable[[], T]], *, rounds: int) -> list[list[T]]:
    """Run all in turn, round after round, so that other work on the machine affects all; return the results of each.

    Every second round runs backwards, because the broker still has work left from the previous program.
    """
    results: list[list[T]] = [[] for _ in runs]
    for number in range(rounds):
        for place in sorted(range(len(runs)), reverse=number % 2 == 1):
            results[place].append(runs[place]())
    return results


def rows_at_once(case: str, names: tuple[str, str], rounds: Sequence[Sequence[Sample]]) -> list[Row]:
    """Return the rows of two programs that were measured at the same time. The second is compared with the first."""
    return [
        Row(case=case, name=name, role=role, samples=samples)
        for name, role, samples in zip(names, (Role.CEILING, Role.OURS), zip(*rounds, strict=True), strict=True)
    ]


def percentiles(name: str, values_s: Sequence[float]) -> dict[str, float]:
    """Return `<name>_p50_ms` and `<name>_p99_ms` of some times; nothing for less than two of them."""
    if len(values_s) < 2:
        return {}
    cuts_s = quantiles(values_s, n=100)
    return {f"{name}_p50_ms": cuts_s[49] * 1e3, f"{name}_p99_ms": cuts_s[98] * 1e3}


def _all_known(values: Iterable[float | None]) -> Sequence[float]:
    known = list(values)
    return [] if None in known else [value for value in known if value is not None]
