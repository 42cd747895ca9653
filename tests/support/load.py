"""Load on a collector, and the account of it: which ids were answered 202 and when."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, KeysView, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from sandbox.source.bodies import Body
from sandbox.source.sending import Plan, Sent, send
from tests.support.services import API_KEY

CONCURRENCY = 1500
"""Requests in flight at most: enough that a frozen broker, with 2 s for each answer, does not slow the load down."""

SMALL = Body(name="small", content=b'{"some": "event"}')


@dataclass(slots=True, repr=False)
class Load:
    """Posts events at a rate, each once or several times in a row, whatever the answers, until it is stopped.

    Attributes:
        posts: Number of times that each event is posted.
        accepted_at_s: Time of the first 202 by the loop's clock, by id.
        latencies_s: How long each 202 took, in their order.
        unaccepted: What became of those that got another answer, or none, every time.
        slowest_s: The longest wait for an answer.
    """

    url: str
    rate_per_s: float
    bodies: Sequence[Body] = (SMALL,)
    timeout_s: float = 15.0
    posts: int = 1
    accepted_at_s: dict[str, float] = field(default_factory=dict)
    latencies_s: list[float] = field(default_factory=list)
    unaccepted: dict[str, Sent] = field(default_factory=dict)
    slowest_s: float = 0.0
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _sending: "asyncio.Task[object] | None" = None

    def __repr__(self) -> str:
        return f"{len(self.accepted)} accepted, {len(self.unaccepted)} not, answered {dict(self.refused)}"

    @property
    def accepted(self) -> KeysView[str]:
        """The ids that were answered 202."""
        return self.accepted_at_s.keys()

    @property
    def refused(self) -> Counter[int]:
        """The number of requests with each other answer; those without an answer are not counted."""
        return Counter(sent.status for sent in self.unaccepted.values() if sent.status is not None)

    def start(self) -> None:
        """Begin to post, or go on."""
        self._stop.clear()
        plan = Plan(
            url=self.url,
            count=1_000_000,
            rate_per_s=self.rate_per_s,
            concurrency=CONCURRENCY,
            bodies=self.bodies,
            api_key=API_KEY,
            timeout_s=self.timeout_s,
        )
        self._sending = asyncio.create_task(
            send(plan, on_sent=self._keep, new_id=lambda: f"load-{next(self._numbers) // self.posts}", stop=self._stop)
        )

    async def stop(self) -> None:
        """Post no more and wait for the answers that are due."""
        self._stop.set()
        if self._sending is not None:
            await self._sending
            self._sending = None

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Post nothing while the context is open."""
        await self.stop()
        yield
        self.start()

    def accepted_between(self, start_s: float, end_s: float) -> int:
        """Count the 202s of a time, by the loop's clock."""
        return sum(start_s <= at_s <= end_s for at_s in self.accepted_at_s.values())

    def _keep(self, sent: Sent) -> None:
        self.slowest_s = max(self.slowest_s, sent.latency_s)
        if sent.accepted:
            self.accepted_at_s.setdefault(sent.event_id, asyncio.get_running_loop().time())
            self.latencies_s.append(sent.latency_s)
            self.unaccepted.pop(sent.event_id, None)
        elif sent.event_id not in self.accepted_at_s:
            self.unaccepted[sent.event_id] = sent
