"""One row of the table and the judgement on it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.cpu import Load
from benchmarks.rate_audit.figures import Quota


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What was measured.

    Attributes:
        processors: How many, as people read it: `4`, or `5 → 2`.
        utilisation: Share of the quota that was used; at least `at_least` is expected.
        highest: Requests in the fullest window of 1 s.
        bound: What it may not exceed.
        throttled: Answers 429; at most `throttled_max` are expected.
        late_s: How late the target itself was at most. What came meanwhile seems to have come at one moment.
        remarks: What else is worth knowing.
        problems: What else did not hold.
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
        """Requests in the fullest second beyond the bound; negative below it."""
        return self.highest - self.bound

    @property
    def exceeds_the_machine(self) -> bool:
        """Whether the quota was not used because the machine could do no more."""
        return self.utilisation < self.at_least and self.load is not None and self.load.is_full

    @property
    def failures(self) -> list[str]:
        """Whatever does not hold."""
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
        """What to think of it, in words."""
        if self.failures:
            return f"FAILS: {', '.join(self.failures)}"
        return "machine full" if self.exceeds_the_machine else "holds"
