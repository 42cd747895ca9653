"""What is measured, and how figures compare. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median

FAR_BELOW = 0.6
"""A peer that reaches less than this share of the least that it is known for was not measured fairly."""

EVENTS_PER_S = "events/s"


class MeasureError(Exception):
    """Something could not be measured; the text says why."""


class Role(StrEnum):
    """What a row is there for."""

    CEILING = "ceiling"
    OURS = "ours"
    PEER = "peer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The range in which a program was seen before, on a machine with 2 cores, with nothing else running."""

    least: float
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One program in one case.

    Attributes:
        samples: One for each round.
        unit: `events/s`, `ms`, `MB`, or nothing for a ratio.
        known: What to hold the median against; None where nothing is known.
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
        """Whether it stays so far below its own range that the machine must have been busy with something else."""
        return self.known is not None and self.value < FAR_BELOW * self.known.least


@dataclass(slots=True, kw_only=True)
class Section:
    """The rows of one group, and why others are missing."""

    name: str
    title: str
    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def counts(self) -> bool:
        """Whether all could be measured, on a machine that did nothing else."""
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
        """Return how many times a peer's figure ours is."""
        ours = next((other for other in self.beside(row) if other.role is Role.OURS), None)
        return ratio(ours, row) if ours is not None and row.role is Role.PEER else None


def ratio(row: Row, other: Row) -> float:
    """Return how many times the other's figure a row's is: the median over the rounds.

    A machine that is busy with something else for a while slows down all turns of a round.
    """
    return median(one / another for one, another in zip(row.samples, other.samples, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One measurement of one program, which can be made again and again."""

    name: str
    role: Role
    run: Callable[[], float]
    known: Known | None = None


def in_turn(case: str, turns: Sequence[Turn], *, rounds: int, unit: str = EVENTS_PER_S) -> list[Row]:
    """Measure each in turn, round after round: what else happens on the machine meets all of them.

    Every other round goes backwards, since a broker still has work left from the program before.
    """
    samples: list[list[float]] = [[] for _ in turns]
    for number in range(rounds):
        for place in sorted(range(len(turns)), reverse=number % 2 == 1):
            samples[place].append(turns[place].run())
    return [
        Row(case=case, name=turn.name, role=turn.role, samples=measured, unit=unit, known=turn.known)
        for turn, measured in zip(turns, samples, strict=True)
    ]
