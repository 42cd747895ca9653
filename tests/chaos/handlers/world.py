"""Two processors with a handler, two relays, their database, and a target for the events that the handler derives."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiohttp
from typing_extensions import override

from sandbox.database.server import PrivateServer
from tests.chaos.world import Surroundings
from tests.support.databases import execute, fetch
from tests.support.postgres_proxy import PostgresProxy
from tests.support.proxy import Proxy
from tests.support.services import Service

SKIPPED = "eventflow_inbox_skipped_total"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A processor or a relay, with proxies of its own between it and the broker, and between it and the database."""

    service: Service
    broker: Proxy
    database: PostgresProxy


@dataclass(slots=True, kw_only=True)
class HandlerWorld(Surroundings):
    """Everything that runs during a scenario of handlers.

    Attributes:
        processors: Run the handler of the flow.
        relays: Publish what it derives, into the other flow.
        sender: Processor of the other flow.
        database: PostgreSQL with the effects, the inbox and the outbox.
        put: Ids of events that the scenario itself has put into the outbox.
        skipped: Duplicates that were skipped by processors that have been killed since.
    """

    other_flow: str
    processors: tuple[Part, Part]
    relays: tuple[Part, Part]
    sender: Service
    database: PrivateServer
    put: set[str] = field(default_factory=set)
    skipped: int = 0

    @property
    @override
    def services(self) -> Sequence[Service]:
        return (self.collector, self.sender, *(part.service for part in (*self.processors, *self.relays)))

    @override
    async def heal(self) -> None:
        await super(HandlerWorld, self).heal()  # a class with slots is a second one, which `super()` does not find
        self.database.resume()
        if not self.database.alive:
            self.database.start()

    async def kill(self, part: Part) -> None:
        """Kill a processor or a relay, with its connections."""
        if part in self.processors:
            self.skipped += int(await part.service.metric(self.http, SKIPPED))
        part.service.process.kill()
        part.broker.cut()
        await part.database.cut()

    async def duplicates_skipped(self) -> int:
        """Return how many duplicates the inbox has kept from a second effect."""
        return self.skipped + int(await self.sum_of(SKIPPED))

    async def sum_of(self, metric: str) -> float:
        """Return the sum of a metric over both processors."""
        return sum([await part.service.metric(self.http, metric) for part in self.processors])

    async def effects(self) -> Counter[str]:
        """Return the number of effects by id."""
        return Counter(row["id"] for row in await fetch(self.database.url, "SELECT id FROM effects"))

    async def outbox(self) -> Counter[str]:
        """Return the ids of the events in the outbox."""
        return Counter(row["id"] for row in await fetch(self.database.url, "SELECT id FROM eventflow.outbox"))

    async def effect_times_s(self) -> list[float]:
        """Return the times of all effects."""
        rows = await fetch(self.database.url, "SELECT extract(epoch FROM at)::float8 AS at_s FROM effects")
        return [row["at_s"] for row in rows]

    async def execute(self, sql: str, *arguments: object) -> None:
        """Run a statement on a connection of its own."""
        await execute(self.database.url, sql, *arguments)

    async def is_busy(self) -> bool:
        """Return whether a handler runs, or an attempt of the other flow."""
        try:
            services = [part.service for part in self.processors] + [self.sender]
            return any([await service.metric(self.http, "eventflow_in_flight") for service in services])
        except aiohttp.ClientError:
            return False
