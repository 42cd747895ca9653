"""A scenario on Kubernetes: with its preparation, and with what it needs."""

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
        missing: Returns what the cluster does not have for this scenario; empty if it has everything.
    """

    scenario: Scenario[Installation]
    prepare: Callable[[Installation], Awaitable[None]] = _nothing
    missing: Callable[[Surroundings], str] = _always
