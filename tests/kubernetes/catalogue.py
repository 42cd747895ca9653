"""All scenarios on Kubernetes, the most important first."""

from tests.kubernetes.case import Case
from tests.kubernetes.faults import nodes, outages, partitions, rollouts, scaling, secrets, upgrades

CASES: tuple[Case, ...] = (
    *rollouts.CASES,
    *nodes.CASES,
    *outages.CASES,
    *partitions.CASES,
    *upgrades.CASES,
    *secrets.CASES,
    *scaling.CASES,
)
