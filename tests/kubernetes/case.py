"""A scenario on Kubernetes, with its needs."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.availability.scenario import Scenario, World
from tests.kubernetes.installation import Installation
from tests.kubernetes.surroundings import Surroundings

KubernetesWorld = World[Installation]


def _always(_: Surroundings) -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A scenario on Kubernetes.

    Attributes:
        missing: Returns the needs of this scenario that the cluster does not meet; empty if it meets all.
        keeps_connections: Whether the balancer keeps its connections to the collectors for later requests.
    """

    scenario: Scenario[Installation]
    missing: Callable[[Surroundings], str] = _always
    keeps_connections: bool = False
