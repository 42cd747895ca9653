"""A goal: a figure that must be reached, and one to aim at. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from benchmarks.bench.figures import Section

Sections = Mapping[str, Section]
Read = Callable[[Sections], float | None]


class Verdict(StrEnum):
    """Judgement of one figure."""

    AIM = "aim"
    MUST = "must"
    MISSED = "missed"
    NO_GO = "no Go here"
    UNKNOWN = "not measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """Goal for one figure.

    Attributes:
        group: Group that measures it.
        must: Bound that must be reached; a function if it depends on the run.
        aim: Bound to aim at.
        read: Finds the figure among the measurements; None if it was not measured.
        is_limit: Whether smaller figures are better.
        needs_go: Whether the figure or its bound compares with the peer in Go.
    """

    measure: str
    group: str
    must: float | Read
    aim: float
    read: Read
    unit: str = ""
    is_limit: bool = False
    needs_go: bool = False

    def judged(self, sections: Sections) -> "Judged":
        """Return the figure of a run with its bounds."""
        must = self.must(sections) if callable(self.must) else self.must
        without = Verdict.NO_GO if self.needs_go and sections[self.group].rows else Verdict.UNKNOWN
        return Judged(goal=self, value=self.read(sections), must=must, without=without)

    def is_reached(self, value: float, bound: float) -> bool:
        """Return whether a figure reaches a bound."""
        return value <= bound if self.is_limit else value >= bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Goal with the figure of a run.

    Attributes:
        value: None if it was not measured.
        must: Bound in this run; None if it depends on something that was not measured.
        without: Verdict if one of them is None.
    """

    goal: Goal
    value: float | None
    must: float | None
    without: Verdict

    @property
    def verdict(self) -> Verdict:
        """The bound that the figure reaches, or the reason why it is not judged."""
        if self.value is None or self.must is None:
            return self.without
        if not self.goal.is_reached(self.value, self.must):
            return Verdict.MISSED
        return Verdict.AIM if self.goal.is_reached(self.value, self.goal.aim) else Verdict.MUST
