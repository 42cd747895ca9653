"""Load on a collector, and the account of it: which ids were answered 202."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field

import aiohttp

from tests.support.services import API_KEY


@dataclass(slots=True)
class Load:
    """Posts events with ids of its own at a rate, without waiting for answers, until it is stopped."""

    url: str
    rate_per_s: float
    body: bytes = b'{"some": "event"}'
    accepted: set[str] = field(default_factory=set)
    refused: dict[int, int] = field(default_factory=dict)
    failed: int = 0
    slowest_s: float = 0.0
    _sent: int = 0
    _task: "asyncio.Task[None] | None" = None

    def start(self) -> None:
        """Begin to post."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Post no more and wait for the answers that are due."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=15)) as client,
            _Gathering() as posts,
        ):
            while True:
                posts.add(self._post(client, f"load-{self._sent}"))
                self._sent += 1
                await asyncio.sleep(max(0.0, began + self._sent / self.rate_per_s - loop.time()))

    async def _post(self, client: aiohttp.ClientSession, event_id: str) -> None:
        began = asyncio.get_running_loop().time()
        try:
            headers = {"X-Api-Key": API_KEY, "Idempotency-Key": event_id}
            async with client.post(self.url, data=self.body, headers=headers) as answer:
                if answer.status == 202:
                    self.accepted.add(event_id)
                else:
                    self.refused[answer.status] = self.refused.get(answer.status, 0) + 1
        except (aiohttp.ClientError, TimeoutError):
            self.failed += 1
        self.slowest_s = max(self.slowest_s, asyncio.get_running_loop().time() - began)


class _Gathering:
    """Keeps tasks and waits for all of them, also when the one who made them is cancelled."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "_Gathering":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks)

    def add(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
