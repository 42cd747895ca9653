"""What is measured, and how figures compare. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median
from typing import TypeVar

FAR_BELOW = 0.6
"""A peer that reaches less than this share of the least that it is known for was not measured fairly."""

Contestant = TypeVar("Contestant")


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
        unit: `events/s`, `ms`, `MB`, or `1` for a ratio.
        known: What to hold the median against; None where nothing is known.
    """

    case: str
    name: str
    role: Role
    samples: Sequence[float]
    unit: str = "events/s"
    known: Known | None = None

    @property
    def value(self) -> float:
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
    skipped: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def counts(self) -> bool:
        """Whether all could be measured, on a machine that did nothing else."""
        return not self.problems and not any(row.is_far_below for row in self.rows)

    def row(self, case: str, name: str) -> Row | None:
        """Return the row of a program in a case."""
        return next((row for row in self.rows if (row.case, row.name) == (case, name)), None)

    def beside(self, row: Row) -> Sequence[Row]:
        """Return all rows of the same case and unit."""
        return [other for other in self.rows if (other.case, other.unit) == (row.case, row.unit)]

    def of_ceiling(self, row: Row) -> float | None:
        """Return a row's share of the ceiling of its case."""
        ceiling = next((other for other in self.beside(row) if other.role is Role.CEILING), None)
        return row.value / ceiling.value if ceiling is not None and ceiling is not row else None

    def times_peer(self, row: Row) -> float | None:
        """Return how many times a peer's figure ours is."""
        ours = next((other for other in self.beside(row) if other.role is Role.OURS), None)
        return ours.value / row.value if ours is not None and row.role is Role.PEER else None


def interleaved(
    contestants: Iterable[Contestant], rounds: int, measure: Callable[[Contestant], float]
) -> Mapping[Contestant, list[float]]:
    """Measure each in turn, round after round: what else happens on the machine meets all of them."""
    contestants = list(contestants)
    samples: dict[Contestant, list[float]] = {contestant: [] for contestant in contestants}
    for _ in range(rounds):
        for contestant in contestants:
            samples[contestant].append(measure(contestant))
    return samples
