"""All scenarios on Kubernetes, the most important first."""

from tests.kubernetes.case import Case
from tests.kubernetes.faults import nodes, outages, partitions, rollouts, scaling, upgrades

CASES: tuple[Case, ...] = (
    *rollouts.CASES,
    *upgrades.CASES,
    *nodes.CASES,
    *outages.CASES,
    *partitions.CASES,
    *scaling.CASES,
)
