"""A scenario on Kubernetes, with its preparation and its needs."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.availability.scenario import Scenario, World
from tests.kubernetes.installation import Installation
from tests.kubernetes.surroundings import Surroundings

KubernetesWorld = World[Installation]


async def _nothing(_: Installation) -> None:
    """Leave the usual installation as it is."""


def _always(_: Surroundings) -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A scenario on Kubernetes.

    Attributes:
        prepare: Changes the usual installation before the load.
        missing: Returns the needs of this scenario that the cluster does not meet; empty if it meets all.
        keeps_connections: Whether the balancer keeps its connections to the collectors for later requests.
    """

    scenario: Scenario[Installation]
    prepare: Callable[[Installation], Awaitable[None]] = _nothing
    missing: Callable[[Surroundings], str] = _always
    keeps_connections: bool = False
