"""A scenario: something that happens to a cluster under load, and the goal that must hold meanwhile."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from tests.availability.connection import Address
from tests.availability.load import Load
from tests.availability.result import Goal
from tests.availability.target import AuditingTarget
from tests.support.wait import eventually

EVENTS_PER_S = 200.0
QUOTA_PER_S = 150.0
"""Below the load, so that events always wait and the whole quota can be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftovers:
    """Copies of events that were found in the cluster at the end, by id."""

    waiting: Counter[str] = field(default_factory=Counter)
    dead: Counter[str] = field(default_factory=Counter)


class Cluster(Protocol):
    """Cluster under test, as the harness needs it.

    Attributes:
        name: Kind and size, for the table.
        address: Address of the balancer in front of the collectors.
    """

    name: str
    address: Address
    api_key: str

    async def leftovers(self) -> Leftovers:
        """Look for events in all queues and spools."""


C = TypeVar("C", bound=Cluster)


@dataclass(slots=True, kw_only=True)
class World(Generic[C]):
    """Everything that runs during a scenario.

    Attributes:
        quota_from_s: Start of the time in which the use of the quota counts; a fault may set a later one.
        remarks: Observations for the table.
        problems: Expectations of the fault that did not hold.
    """

    cluster: C
    target: AuditingTarget
    load: Load
    quota_from_s: float
    remarks: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    async def accepts(self, events: int, *, within_s: float = 60.0) -> None:
        """Wait until so many more requests were answered 202."""
        enough = len(self.load.accepted) + events
        await eventually(
            lambda: len(self.load.accepted) >= enough,
            within_s=within_s,
            what=lambda: f"{events} more events accepted; refused: {dict(self.load.problems)}",
        )

    async def delivers(self, events: int, *, within_s: float = 60.0) -> None:
        """Wait until so many more requests have reached the target."""
        enough = (await self.target.audit.summary())["received"] + events

        async def has() -> bool:
            return bool((await self.target.audit.summary())["received"] >= enough)

        await eventually(has, within_s=within_s, what=f"{events} more events delivered")

    async def pause(self, seconds: float) -> None:
        """Let the load continue for a time."""
        await asyncio.sleep(seconds)

    def quota_counts_after(self, seconds: float) -> None:
        """Count the use of the quota only from a later moment on."""
        self.quota_from_s = time.monotonic() + seconds


async def _nothing(_: Cluster) -> None:
    """Leave the cluster as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario(Generic[C]):
    """Something that happens to a cluster under load.

    Attributes:
        name: Its name, by which it can be selected, and its cell in the table.
        prepare: Changes the cluster before the load.
        fault: Disturbs the cluster; the load continues until it returns, and a little longer.
        events_per_s: Rate of the load.
        quota_per_s: Quota of the flow, as in the settings of the cluster; None for a flow without one.
        fresh_share: Share of the requests that open a connection of their own.
        calm_s: Time of the load after the fault.
        rest_within_s: Longest time until all accepted events are delivered, after the load.
    """

    name: str
    prepare: Callable[[C], Awaitable[None]] = _nothing
    fault: Callable[[World[C]], Awaitable[None]]
    goal: Goal = field(default_factory=Goal)
    events_per_s: float = EVENTS_PER_S
    quota_per_s: float | None = QUOTA_PER_S
    fresh_share: float = 0.5
    calm_s: float = 10.0
    rest_within_s: float = 180.0
