"""Measurements, and comparisons between them. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median

FAR_BELOW = 0.6
"""A peer below this share of its lowest known figure was not measured fairly."""

EVENTS_PER_S = "events/s"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One program in one case.

    Attributes:
        samples: One figure for each round.
        unit: `events/s`, `ms` or `MB`; empty for a ratio.
        known: Earlier figures to compare the median with; None if there are none.
    """

    case: str
    name: str
    role: Role
    samples: Sequence[float]
    unit: str = EVENTS_PER_S
    known: Known | None = None

    @property
    def value(self) -> float:
        """Median of the samples."""
        return median(self.samples)

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

    def of_ceiling(self, row: Row) -> float | None:
        """Return a row's share of the ceiling of its case."""
        ceiling = next((other for other in self.beside(row) if other.role is Role.CEILING), None)
        return ratio(row, ceiling) if ceiling is not None and ceiling is not row else None

    def times_peer(self, row: Row) -> float | None:
        """Return our figure divided by the peer's."""
        ours = next((other for other in self.beside(row) if other.role is Role.OURS), None)
        return ratio(ours, row) if ours is not None and row.role is Role.PEER else None


def ratio(row: Row, other: Row) -> float:
    """Return the median, over the rounds, of a row's figure divided by the other's.

    Rounds are compared one by one because other work on the machine slows all turns of a round.
    """
    return median(one / another for one, another in zip(row.samples, other.samples, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Measurement of one program, which can be repeated."""

    name: str
    role: Role
    run: Callable[[], float]
    known: Known | None = None


def in_turn(case: str, turns: Sequence[Turn], *, rounds: int, unit: str = EVENTS_PER_S) -> list[Row]:
    """Measure all programs in turn, round after round, so that other work on the machine affects all of them.

    Every second round runs backwards, because the broker still has work left from the previous program.
    """
    samples: list[list[float]] = [[] for _ in turns]
    for number in range(rounds):
        for place in sorted(range(len(turns)), reverse=number % 2 == 1):
            samples[place].append(turns[place].run())
    return [
        Row(case=case, name=turn.name, role=turn.role, samples=measured, unit=unit, known=turn.known)
        for turn, measured in zip(turns, samples, strict=True)
    ]
