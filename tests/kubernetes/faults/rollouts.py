"""Rolling restarts, as a changed configuration causes them."""

from tests.availability.scenario import Scenario
from tests.kubernetes.case import Case, KubernetesWorld
from tests.kubernetes.installation import BROKERS, COLLECTORS, PROCESSORS


async def collectors_restarted(world: KubernetesWorld) -> None:
    await world.cluster.kubectl.restart(COLLECTORS)


async def processors_restarted(world: KubernetesWorld) -> None:
    """Each new processor takes a share of the quota at once, and begins to use it about a second later."""
    await world.cluster.kubectl.restart(PROCESSORS)


async def brokers_restarted(world: KubernetesWorld) -> None:
    """Each broker waits in its preStop hook until the others have a majority without it."""
    await world.cluster.kubectl.restart(BROKERS)


CASES = (
    Case(scenario=Scenario(name="rolling restart of the collectors", fault=collectors_restarted)),
    Case(scenario=Scenario(name="rolling restart of the processors", fault=processors_restarted, calm_s=60)),
    Case(scenario=Scenario(name="rolling restart of the brokers", fault=brokers_restarted, calm_s=30)),
)
