"""The figures of a run, and the goal that they are compared with. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.chaos.checker import Verdict

CONFIRM_TIMEOUT_S = 2.0
"""The default of `EVENTFLOW_COLLECTOR__CONFIRM_TIMEOUT_S`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """Bounds of a scenario. No event may be lost in any.

    Attributes:
        refused_max: Number of requests that may stay without a 202.
        wait_max_s: Longest wait for a 202; None without a bound.
        quota_min: Smallest share of the quota that must be used; None if the scenario takes the brokers away.
        above_max: Number of requests above the quota; None for the bound of an undisturbed flow.
    """

    refused_max: int = 0
    wait_max_s: float | None = CONFIRM_TIMEOUT_S + 0.5
    quota_min: float | None = 0.95
    above_max: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Result of a scenario.

    Attributes:
        cluster: Kind and size of the cluster.
        events_per_s: Rate of the load.
        quota_per_s: Quota of the flow; None for a flow without one.
        refused: Number of requests without a 202, by reason.
        longest_wait_s: Longest wait for a 202.
        quota_used: Share of the quota that was used; 0 without one.
        above_quota: Largest number of requests above the quota in any time; 0 without one.
        seconds: Length of the load.
        remarks: Observations for the table.
        problems: Expectations that did not hold.
    """

    scenario: str
    cluster: str
    goal: Goal
    events_per_s: float
    quota_per_s: float | None
    verdict: Verdict
    refused: Mapping[str, int]
    longest_wait_s: float
    quota_used: float
    above_quota: float
    seconds: float
    remarks: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether no event was lost and the goal was reached."""
        return self.verdict.holds and not self.problems


def broken_bounds(run: Run) -> Iterator[str]:
    """Yield the bounds of the goal that a run has not kept."""
    goal, refused = run.goal, sum(run.refused.values())
    if refused > goal.refused_max:
        yield f"{refused} refused, {goal.refused_max} allowed: {dict(run.refused)}"
    if goal.wait_max_s is not None and run.longest_wait_s > goal.wait_max_s:
        yield f"a 202 took {run.longest_wait_s:.2f} s, {goal.wait_max_s:g} s allowed"
    if goal.quota_min is not None and run.quota_used < goal.quota_min:
        yield f"{run.quota_used:.1%} of the quota used, {goal.quota_min:.0%} required"
    if goal.above_max is not None and run.above_quota > goal.above_max:
        yield f"{run.above_quota:.0f} requests above the quota, {goal.above_max:g} allowed"
