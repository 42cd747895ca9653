"""The whole way of an event, all of it real, with a handle on each part for a scenario to pull."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aio_pika
import aiohttp

from eventflow.topology import Lane, dead_queue, lane_queue, retry_queue
from sandbox.broker.cluster import Cluster
from sandbox.broker.node import PrivateNode
from tests.support.amqp import Amqp
from tests.support.disk import FaultyDisk
from tests.support.load import Load
from tests.support.proxy import Proxy
from tests.support.services import API_KEY, Service
from tests.support.target import Receipt, ScriptedTarget
from tests.support.wait import eventually

UNDER_WAY_MAX = 8
PROGRESS_WITHIN_S = 60.0
"""Longer than anything may take to come back: a dead connection is noticed within 20 s, a session opened in 15."""


@dataclass(slots=True, kw_only=True)
class World:
    """What runs while a scenario does.

    Attributes:
        broker: A node, or a cluster of them, to which anything may be done.
        dice: Seeded; whatever a scenario chooses, it chooses with these.
        collector_proxy: Between collector and broker; None unless the scenario asked for proxies.
        disk: The spool's; None unless the scenario asked for one that can fail.
        remarks: What the table says beside the figures.
    """

    broker: PrivateNode | Cluster
    flow: str
    retry_delays_s: tuple[float, ...]
    dice: random.Random
    collector: Service
    processor: Service
    target: ScriptedTarget
    load: Load
    http: aiohttp.ClientSession
    collector_proxy: Proxy | None
    processor_proxy: Proxy | None
    disk: FaultyDisk | None
    remarks: list[str] = field(default_factory=list)

    @property
    def node(self) -> PrivateNode:
        """The only node."""
        assert isinstance(self.broker, PrivateNode)
        return self.broker

    @property
    def cluster(self) -> Cluster:
        assert isinstance(self.broker, Cluster)
        return self.broker

    @property
    def living_url(self) -> str:
        """A node that answers now."""
        return self.broker.url if isinstance(self.broker, PrivateNode) else self.broker.living[0].url

    @property
    def live_queue(self) -> str:
        return lane_queue(self.flow, Lane.LIVE)

    @property
    def work_queues(self) -> tuple[str, ...]:
        """Where events wait that are not given up."""
        lanes = (lane_queue(self.flow, lane) for lane in Lane)
        return (*lanes, *(retry_queue(self.flow, delay_s) for delay_s in self.retry_delays_s))

    @property
    def dead_queue(self) -> str:
        return dead_queue(self.flow)

    @property
    def now_s(self) -> float:
        return asyncio.get_running_loop().time()

    async def accepts(self, events: int, *, within_s: float = PROGRESS_WITHIN_S) -> None:
        """Wait until so many more events have been accepted."""
        enough = len(self.load.accepted) + events
        await eventually(
            lambda: len(self.load.accepted) >= enough,
            within_s=within_s,
            what=lambda: f"{events} more events accepted; refused: {dict(self.load.refused)}\n{self.collector.output}",
        )

    async def delivers(self, events: int, *, within_s: float = PROGRESS_WITHIN_S) -> None:
        """Wait until the target has taken so many more events."""
        enough = len(self.target.taken) + events
        await eventually(
            lambda: len(self.target.taken) >= enough,
            within_s=within_s,
            what=lambda: f"{events} more events delivered\n{self.processor.output}",
        )

    async def catches_up(self) -> None:
        """Wait until the target has taken what has gathered.

        A processor that is killed amid a backlog has as many attempts in flight as it may, and each may come twice.
        """
        await eventually(
            # By their ids: duplicates of an earlier kill must not stand for events that are still to come.
            lambda: len(self.load.accepted - {receipt.id for receipt in self.target.taken}) < UNDER_WAY_MAX,
            within_s=PROGRESS_WITHIN_S,
            what=lambda: f"the backlog delivered\n{self.processor.output}",
        )

    async def start(self, service: Service) -> None:
        """Start a service that has ended and wait until it is ready."""
        service.process.start()
        await service.ready(self.http, within_s=PROGRESS_WITHIN_S)

    async def terminate(self, service: Service) -> None:
        """End a service by SIGTERM, which it must survive until it has drained."""
        status = await asyncio.to_thread(service.process.stop, 20)
        assert status == 0, f"{service.process.name} ended with {status}:\n{service.output}"

    async def crash_broker(self) -> None:
        """Kill the node and start it again."""
        self.node.kill()
        await asyncio.to_thread(self.node.start)

    async def pause(self, shortest_s: float, longest_s: float) -> None:
        """Let a time pass that the dice choose."""
        await asyncio.sleep(self.dice.uniform(shortest_s, longest_s))

    async def post(self, event_id: str) -> int:
        """Post one event apart from the load and return the answer's status."""
        headers = {"X-Api-Key": API_KEY, "Idempotency-Key": event_id}
        async with self.http.post(self.collector.url, data=b"{}", headers=headers) as answer:
            return answer.status

    def accepts_none_since(self, start_s: float) -> None:
        """Check that no 202 has been answered since."""
        accepted = self.load.accepted_between(start_s, self.now_s)
        assert accepted == 0, f"{accepted} events were answered 202 though none could be confirmed"

    def attempts_since(self, start_s: float) -> int:
        return sum(receipt.at_s >= start_s for receipt in self.target.receipts)

    async def live_queue_empty(self) -> None:
        """Wait until no event waits or is held; only for a load that is paused."""
        await eventually(lambda: self.load.accepted <= self.target.ids, what="every accepted event at the target")

        async def handled() -> bool:
            return await self.processor.metric(self.http, "eventflow_in_flight") == 0

        await eventually(handled, what="no attempt in flight")
        await asyncio.sleep(0.2)  # for the last acks, which nothing answers

    @asynccontextmanager
    async def amqp(self) -> AsyncIterator[Amqp]:
        """Yield a client of our own on a living node."""
        async with Amqp(self.living_url) as client:
            yield client

    def rss_mib(self) -> dict[str, float]:
        """Return the resident memory of both services."""
        return {name: _rss_mib(service.process.pid) for name, service in self._services if service.process.alive}

    def remark_memory(self, before: dict[str, float]) -> None:
        """Note how the services' memory has moved since `before`."""
        after = self.rss_mib()
        moved = (f"{name} {before[name]:.0f} → {after[name]:.0f} MiB" for name in before if name in after)
        self.remarks.append(f"RSS {', '.join(moved)}")

    @property
    def _services(self) -> tuple[tuple[str, Service], ...]:
        return (("collector", self.collector), ("processor", self.processor))


def number_of(receipt: Receipt) -> int:
    """Return the number that the load gave an event."""
    return int(receipt.id.removeprefix("load-"))


POISONED = 422
"""A failure of the event's own: it opens no breaker, which would keep the events from what a scenario does to them."""


def failing_first(*, every: int) -> Callable[[Receipt], int]:
    """Return a target's answer: the first attempt of every n-th event fails."""
    return lambda receipt: POISONED if receipt.attempt == 1 and number_of(receipt) % every == 0 else 200


async def ids_in(amqp: Amqp, queues: Collection[str]) -> Counter[str]:
    """Read all that is ready in queues and leave it there; return how often each event was there."""
    found: Counter[str] = Counter()
    for queue in queues:
        async with amqp.connection.channel() as channel:  # its end returns what was read
            try:
                source = await channel.declare_queue(queue, passive=True)
            except aio_pika.exceptions.ChannelNotFoundEntity:
                continue
            while message := await source.get(fail=False, timeout=10):
                found[str(message.headers["cloudEvents:id"])] += 1
    return found


def _rss_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS:"))
