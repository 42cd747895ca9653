"""The whole way of an event with real parts, and a handle on each part for the scenarios."""

import asyncio
import random
from abc import abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aio_pika
import aiohttp
from typing_extensions import override

from eventflow.topology import Lane, dead_queue, lane_queue, retry_queue
from sandbox.broker.cluster import Cluster
from sandbox.broker.node import PrivateNode
from sandbox.database.server import PrivateServer
from tests.support.amqp import Amqp
from tests.support.disk import FaultyDisk
from tests.support.load import Load
from tests.support.proxy import Proxy
from tests.support.services import API_KEY, Service, processor
from tests.support.target import Receipt, ScriptedTarget
from tests.support.wait import eventually

UNDER_WAY_MAX = 8
PROGRESS_WITHIN_S = 60.0
"""Longer than any recovery may take: a dead connection is noticed within 20 s, a session opens within 15 s."""


@dataclass(slots=True, kw_only=True)
class Surroundings:
    """Parts that every kind of world has.

    Attributes:
        broker: Node or cluster, which scenarios may disturb in any way.
        dice: Seeded random generator for all choices of a scenario.
        target: The end of the way.
        remarks: Observations for the table.
    """

    broker: PrivateNode | Cluster
    flow: str
    retry_delays_s: tuple[float, ...]
    dice: random.Random
    collector: Service
    target: ScriptedTarget
    load: Load
    http: aiohttp.ClientSession
    remarks: list[str] = field(default_factory=list)

    @property
    @abstractmethod
    def services(self) -> Sequence[Service]:
        """Services that run at the end of a fault."""

    @property
    def node(self) -> PrivateNode:
        """Node of a scenario without a cluster."""
        assert isinstance(self.broker, PrivateNode)
        return self.broker

    @property
    def living_url(self) -> str:
        """URL of a node that runs."""
        return self.broker.url if isinstance(self.broker, PrivateNode) else self.broker.living[0].url

    @property
    def retry_delays(self) -> str:
        """Retry delays, as the setting `RETRY_DELAYS_S` expects them."""
        return delays_text(self.retry_delays_s)

    @property
    def now_s(self) -> float:
        return asyncio.get_running_loop().time()

    async def accepts(self, events: int, *, within_s: float = PROGRESS_WITHIN_S) -> None:
        """Wait until `events` more events have been accepted."""
        enough = len(self.load.accepted) + events
        await eventually(
            lambda: len(self.load.accepted) >= enough,
            within_s=within_s,
            what=lambda: f"{events} more events accepted; refused: {dict(self.load.refused)}\n{self.collector.output}",
        )

    async def delivers(self, events: int, *, within_s: float = PROGRESS_WITHIN_S) -> None:
        """Wait until the target has accepted `events` more events."""
        enough = len(self.target.taken) + events
        await eventually(
            lambda: len(self.target.taken) >= enough,
            within_s=within_s,
            what=lambda: "\n\n".join([f"{events} more events delivered", *(each.output for each in self.services[1:])]),
        )

    async def start(self, service: Service) -> None:
        """Start a service that has ended and wait until it is ready."""
        service.process.start()
        await service.ready(self.http, within_s=PROGRESS_WITHIN_S)

    async def terminate(self, service: Service) -> None:
        """End a service with SIGTERM; it must drain and exit with status 0."""
        status = await asyncio.to_thread(service.process.stop, 20)
        assert status == 0, f"{service.process.name} ended with {status}:\n{service.output}"

    async def crash_broker(self) -> None:
        """Kill the node and start it again."""
        self.node.kill()
        await asyncio.to_thread(self.node.start)

    async def heal(self) -> None:
        """Let everything run on which the services depend."""
        for node in (self.broker,) if isinstance(self.broker, PrivateNode) else self.broker.nodes:
            if node.alive:
                node.resume()
            else:
                await asyncio.to_thread(node.start)

    async def pause(self, shortest_s: float, longest_s: float) -> None:
        """Wait for a random time."""
        await asyncio.sleep(self.dice.uniform(shortest_s, longest_s))

    async def post(self, event_id: str) -> int:
        """Post one event besides the load, and return the status of the answer."""
        headers = {"X-Api-Key": API_KEY, "Idempotency-Key": event_id}
        async with self.http.post(self.collector.url, data=b"{}", headers=headers) as answer:
            return answer.status

    @asynccontextmanager
    async def amqp(self) -> AsyncIterator[Amqp]:
        """Yield an AMQP client of a running node."""
        async with Amqp(self.living_url) as client:
            yield client


@dataclass(slots=True, kw_only=True)
class World(Surroundings):
    """Everything that runs during a scenario with a target.

    Attributes:
        collector_proxy: Proxy between collector and broker; None unless the scenario is `proxied`.
        processor_proxy: Proxy between processor and broker, in the same way.
        disk: Disk of the spool; None unless the scenario has a `faulty_disk`.
        history_url: Store of the history; empty unless the scenario has a `history`.
        database: PostgreSQL with the history; None unless that is its kind.
    """

    processor: Service
    collector_proxy: Proxy | None
    processor_proxy: Proxy | None
    disk: FaultyDisk | None
    history_url: str
    database: PrivateServer | None

    @property
    @override
    def services(self) -> Sequence[Service]:
        return (self.collector, self.processor)

    @property
    def cluster(self) -> Cluster:
        assert isinstance(self.broker, Cluster)
        return self.broker

    @property
    def live_queue(self) -> str:
        return lane_queue(self.flow, Lane.LIVE)

    @property
    def work_queues(self) -> tuple[str, ...]:
        return work_queues(self.flow, self.retry_delays_s)

    @property
    def dead_queue(self) -> str:
        return dead_queue(self.flow)

    @override
    async def heal(self) -> None:
        await super(World, self).heal()  # a class with slots is a second one, which `super()` does not find
        if self.disk is not None:
            self.disk.heal()

    async def catches_up(self) -> None:
        """Wait until the target has accepted the backlog.

        A processor that is killed during a backlog has the most attempts in flight, and each of them may be repeated.
        """
        await eventually(
            # Compared by ids: duplicates of an earlier kill must not count as events that are still missing.
            lambda: len(self.load.accepted - {receipt.id for receipt in self.target.taken}) < UNDER_WAY_MAX,
            within_s=PROGRESS_WITHIN_S,
            what=lambda: f"the backlog delivered\n{self.processor.output}",
        )

    def another_processor(self, broker_url: str | None = None, **settings: str) -> Service:
        """Prepare one more processor of the flow; `settings` as in `processor`."""
        return processor(
            broker_url or self.living_url,
            flow=self.flow,
            target_url=self.target.url,
            TARGET__RETRY_DELAYS_S=self.retry_delays,
            **settings,
        )

    async def dead(self) -> int:
        """Return the number of dead letters."""
        async with self.amqp() as amqp:
            return await amqp.depth(self.dead_queue)

    def accepts_none_since(self, start_s: float) -> None:
        """Check that no event has been accepted since a moment."""
        accepted = self.load.accepted_between(start_s, self.now_s)
        assert accepted == 0, f"{accepted} events were answered 202 although none could be confirmed"

    def attempts_since(self, start_s: float) -> int:
        return sum(receipt.at_s >= start_s for receipt in self.target.receipts)

    async def live_queue_empty(self) -> None:
        """Wait until no event is queued or unacked. The load must be paused."""
        await eventually(lambda: self.load.accepted <= self.target.ids, what="every accepted event at the target")

        async def handled() -> bool:
            return await self.processor.metric(self.http, "eventflow_in_flight") == 0

        await eventually(handled, what="no attempt in flight")
        await asyncio.sleep(0.2)  # for the last acks: the broker does not answer them

    def rss_mib(self) -> dict[str, float]:
        """Return the resident memory of both services."""
        return {
            name: service.process.resident_bytes / 2**20
            for name, service in (("collector", self.collector), ("processor", self.processor))
            if service.process.alive
        }

    def remark_memory(self, before: dict[str, float]) -> None:
        """Add a remark about the change of memory since `before`."""
        after = self.rss_mib()
        moved = (f"{name} {before[name]:.0f} → {after[name]:.0f} MiB" for name in before if name in after)
        self.remarks.append(f"RSS {', '.join(moved)}")


def work_queues(flow: str, retry_delays_s: Iterable[float]) -> tuple[str, ...]:
    """Return the queues of a flow with events that are not dead-lettered."""
    return (*(lane_queue(flow, lane) for lane in Lane), *(retry_queue(flow, delay_s) for delay_s in retry_delays_s))


def delays_text(delays_s: Iterable[float]) -> str:
    """Return delays as the setting `RETRY_DELAYS_S` expects them."""
    return ",".join(f"{delay_s:g}" for delay_s in delays_s)


def number_of(receipt: Receipt) -> int:
    """Return the number that the load gave an event."""
    return int(receipt.id.removeprefix("load-"))


POISONED = 422
"""Status of a failure that concerns one event only: it does not open the breaker, which would stop the deliveries."""


def failing_first(*, every: int) -> Callable[[Receipt], int]:
    """Return answers of a target that fail the first attempt of every n-th event."""
    return lambda receipt: POISONED if receipt.attempt == 1 and number_of(receipt) % every == 0 else 200


async def ids_in(amqp: Amqp, queues: Collection[str]) -> Counter[str]:
    """Read the ready messages of queues without removing them; return the number of copies of each event."""
    found: Counter[str] = Counter()
    for queue in queues:
        async with amqp.connection.channel() as channel:  # its end requeues the messages
            try:
                source = await channel.declare_queue(queue, passive=True)
            except aio_pika.exceptions.ChannelNotFoundEntity:
                continue
            while message := await source.get(fail=False, timeout=10):
                found[str(message.headers["cloudEvents:id"])] += 1
    return found
