"""A row of the table, and its verdict. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.cpu import Load
from benchmarks.rate_audit.figures import Quota


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Figures of one measurement.

    Attributes:
        processors: Number of processors for people: `4`, or `5 → 2`.
        utilisation: Used share of the quota; at least `at_least` is expected.
        highest: Requests in the fullest window of 1 s.
        bound: Largest allowed value of `highest`.
        throttled: Number of answers 429; at most `throttled_max` are expected.
        late_s: Longest delay of the target itself: requests of such a time seem to arrive at once.
        remarks: Other observations.
        problems: Other expectations that did not hold.
    """

    scenario: str
    quota: Quota
    processors: str
    utilisation: float
    at_least: float
    highest: int
    bound: int
    throttled: int
    late_s: float
    throttled_max: float = 0.0
    load: Load | None = None
    remarks: Sequence[str] = ()
    problems: Sequence[str] = ()

    @property
    def excess(self) -> int:
        """Requests above the bound in the fullest second; negative below it."""
        return self.highest - self.bound

    @property
    def exceeds_the_machine(self) -> bool:
        """Whether the quota was not used because the machine was full."""
        return self.utilisation < self.at_least and self.load is not None and self.load.is_full

    @property
    def failures(self) -> list[str]:
        """Expectations that did not hold."""
        failures = list(self.problems)
        if self.excess > 0:
            failures.append(f"{self.excess} over the bound")
        if self.throttled > self.throttled_max:
            failures.append(f"{self.throttled} times 429")
        if self.utilisation < self.at_least and not self.exceeds_the_machine:
            failures.append(f"below {self.at_least:.0%}")
        return failures

    @property
    def verdict(self) -> str:
        """Verdict in words."""
        if self.failures:
            return f"FAILS: {', '.join(self.failures)}"
        return "machine full" if self.exceeds_the_machine else "holds"
