"""Scenarios with their figures, and groups of them that run at the same time. Pure."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from benchmarks.rate_audit.figures import Quota
from benchmarks.rate_audit.row import Row
from benchmarks.rate_audit.scaling import MOST, scaling
from benchmarks.rate_audit.scenarios import lowered, shopify, steady
from benchmarks.rate_audit.stage import Stage
from sandbox.target.behaviour import Behaviour

SHOPIFY_GRAPHQL = Quota(rate_per_s=100, burst=1000, cost=50)
SHOPIFY_PROCESSORS_MAX = 4
SCALED = Quota(rate_per_s=100)
UNLIMITED = Behaviour(rate=0)
"""The target only counts: an excess shows in its own row and does not throttle the next one."""

LOWERED = ((50, 2), (500, 4))
LOWERED_FOR_S = 60.0
WATCHED_S = 14.0
REQUESTS_MIN = 100
"""Smallest number of requests in a measurement; at a low rate it takes longer."""

SIDE_BY_SIDE_PER_S, SIDE_BY_SIDE_PROCESSORS = 160, 16
"""Largest sums of rates and of processors that run at the same time without disturbing each other."""


class Scenario(StrEnum):
    """Scenario that can be selected."""

    STEADY = "steady"
    SHOPIFY = "shopify"
    LOWERED = "lowered"
    SCALING = "scaling"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A scenario with its figures.

    Attributes:
        processors: Largest number that runs at a time.
        target: Limit of the target.
    """

    scenario: Scenario
    quota: Quota
    processors: int
    target: Behaviour
    run: Callable[[Stage], Awaitable[list[Row]]]

    def failed(self, problem: str) -> Row:
        """Return the row of a case that did not run to its end."""
        return Row(
            scenario=self.scenario,
            quota=self.quota,
            processors=str(self.processors),
            utilisation=0.0,
            at_least=0.0,
            highest=0,
            bound=self.quota.bound(self.processors),
            throttled=0,
            late_s=0.0,
            problems=[problem],
        )


def whole(rates_per_s: Sequence[float], processors: Sequence[int], *, measured_s: float) -> Iterator[Case]:
    """Yield all cases."""
    for rate_per_s in rates_per_s:
        for count in processors:
            yield _steady(rate_per_s, count, measured_s=max(measured_s, REQUESTS_MIN / rate_per_s))
    for count in processors:
        if count <= SHOPIFY_PROCESSORS_MAX:
            yield _shopify(count)
    for rate_per_s, count in LOWERED:
        yield _lowered(rate_per_s, count, for_s=LOWERED_FOR_S)
    yield _scaling(brief=False)


def quick(rates_per_s: Sequence[float], processors: Sequence[int], *, measured_s: float) -> Iterator[Case]:
    """Yield a few cases of each scenario."""
    for rate_per_s in rates_per_s:
        for count in processors:
            yield _steady(rate_per_s, count, measured_s=measured_s)
    yield _shopify(max(processors))
    yield _lowered(*LOWERED[0], for_s=LOWERED_FOR_S / 3)
    yield _scaling(brief=True)


def side_by_side(cases: Iterable[Case]) -> Iterator[list[Case]]:
    """Yield the cases in groups that run at the same time."""
    group: list[Case] = []
    for case in cases:
        joined = [*group, case]
        requests_per_s = sum(each.quota.requests_per_s for each in joined)
        processors = sum(each.processors for each in joined)
        if group and (requests_per_s > SIDE_BY_SIDE_PER_S or processors > SIDE_BY_SIDE_PROCESSORS):
            yield group
            joined = [case]
        group = joined
    if group:
        yield group


def _bucket(quota: Quota, processors: int) -> Behaviour:
    return Behaviour(rate=quota.rate_per_s, burst=quota.target_burst(processors), cost=quota.cost)


def _steady(rate_per_s: float, processors: int, *, measured_s: float) -> Case:
    quota = Quota(rate_per_s=rate_per_s)
    return Case(
        scenario=Scenario.STEADY,
        quota=quota,
        processors=processors,
        target=_bucket(quota, processors),
        run=partial(steady, processors=processors, measured_s=measured_s),
    )


def _shopify(processors: int) -> Case:
    return Case(
        scenario=Scenario.SHOPIFY,
        quota=SHOPIFY_GRAPHQL,
        processors=processors,
        target=_bucket(SHOPIFY_GRAPHQL, processors),
        run=partial(shopify, processors=processors, watched_s=WATCHED_S),
    )


def _lowered(rate_per_s: float, processors: int, *, for_s: float) -> Case:
    quota = Quota(rate_per_s=rate_per_s)
    return Case(
        scenario=Scenario.LOWERED,
        quota=quota,
        processors=processors,
        target=_bucket(quota, processors),
        run=partial(lowered, processors=processors, for_s=for_s),
    )


def _scaling(*, brief: bool) -> Case:
    return Case(
        scenario=Scenario.SCALING,
        quota=SCALED,
        processors=MOST,
        target=UNLIMITED,
        run=partial(scaling, brief=brief),
    )
