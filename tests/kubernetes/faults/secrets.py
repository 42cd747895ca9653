"""A secret is replaced by a new one, without a moment in which neither is accepted."""

import secrets

from tests.availability.result import Goal
from tests.availability.scenario import Scenario
from tests.kubernetes.case import Case, KubernetesWorld
from tests.kubernetes.installation import COLLECTORS


async def key_rotated(world: KubernetesWorld) -> None:
    """Collectors accept both keys, then the sender changes to the new one, then the old one is refused."""
    cluster, old, new = world.cluster, world.cluster.api_key, secrets.token_urlsafe(24)
    await cluster.accept_keys(new, old)
    await cluster.kubectl.restart(COLLECTORS)
    world.load.api_key = cluster.api_key = new
    await world.pause(5)
    await cluster.accept_keys(new)
    await cluster.kubectl.restart(COLLECTORS)


CASES = (Case(scenario=Scenario(name="key of the sender rotated", fault=key_rotated, goal=Goal(wait_max_s=1.0))),)
