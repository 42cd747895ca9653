"""Rolling upgrades from older versions under load, and back."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from tests.availability.scenario import Scenario
from tests.kubernetes.case import Case, KubernetesWorld
from tests.kubernetes.installation import RELEASE, Installation
from tests.kubernetes.surroundings import Surroundings

BETWEEN_S = 60.0
"""As docs/availability.md advises: beside an older version, a processor that joins uses no quota for 4 s."""

VALUES_OF: Mapping[str, Mapping[str, Any]] = {
    "0.1.0": {
        "broker": {"managementUrl": None},
        "collector": {"shutdownDelaySeconds": None, "spool": {"drainTimeoutSeconds": None}},
    },
    "0.3.0": {},
}
"""The older versions, with changes to the usual values: 0.1.0 does not know three settings. Without the two of the
collector, Kubernetes waits before it stops one."""


async def install_older(cluster: Installation, *, version: str) -> None:
    await cluster.install(_image(cluster.surroundings, version), **VALUES_OF[version])


async def upgraded_and_back(world: KubernetesWorld) -> None:
    await world.cluster.install()
    await world.pause(BETWEEN_S)
    await world.cluster.helm("rollback", RELEASE)
    await world.cluster.ready()


def _image(surroundings: Surroundings, version: str) -> str:
    return next((image for image in surroundings.previous_images if image.endswith(f":{version}")), "")


def _missing(surroundings: Surroundings, *, version: str) -> str:
    return "" if _image(surroundings, version) else f"an image of version {version} in PREVIOUS_IMAGES"


CASES = tuple(
    Case(
        scenario=Scenario(
            name=f"rolling upgrade from {version}, and back",
            prepare=partial(install_older, version=version),
            fault=upgraded_and_back,
            calm_s=60,
        ),
        missing=partial(_missing, version=version),
    )
    for version in VALUES_OF
)
