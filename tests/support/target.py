"""A target that answers as a test demands, and keeps the requests that it received."""

import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Answer = web.StreamResponse | int | Handler
"""The answer to a request. A handler may do anything to the connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """One request as it reached the target."""

    id: str
    attempt: int
    headers: Mapping[str, str]
    body: bytes
    at_s: float
    path: str = "/"
    """Path and query, as they were sent."""


RECEIPT = web.RequestKey("receipt", Receipt)


@dataclass(slots=True)
class ScriptedTarget:
    """Listens on a free port of loopback, or the one given, while its context is open."""

    host: str = field(default="127.0.0.1", kw_only=True)
    answer: Callable[[Receipt], Answer | Awaitable[Answer]] = lambda _: 200
    receipts: list[Receipt] = field(default_factory=list)
    taken: list[Receipt] = field(default_factory=list)
    """Those that were answered with 2xx while their sender was still connected."""
    unheard: list[Receipt] = field(default_factory=list)
    """Those that were answered with 2xx after their sender had disconnected: they will come again."""
    url: str = ""
    port: int = 0
    _of: dict[str, list[Receipt]] = field(default_factory=lambda: defaultdict(list))
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/{path:.*}", self._receive)
        app.on_response_prepare.append(self._take)
        # The bytes of a body stay as they were sent, with any encoding.
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None, auto_decompress=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, self.port).start()
        self.url = f"http://{self.host}:{self._runner.addresses[0][1]}/hook"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    @property
    def ids(self) -> set[str]:
        return {receipt.id for receipt in self.receipts}

    def of(self, event_id: str) -> list[Receipt]:
        """Return the receipts of one event, in order."""
        return list(self._of.get(event_id, ()))

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        receipt = Receipt(
            id=request.headers["Idempotency-Key"],
            attempt=int(request.headers["eventflow-attempt"]),
            headers=dict(request.headers),
            body=await request.read(),
            at_s=time.monotonic(),
            path=request.raw_path,
        )
        self.receipts.append(receipt)
        self._of[receipt.id].append(receipt)
        request[RECEIPT] = receipt
        answer = self.answer(receipt)
        if isinstance(answer, Awaitable):
            answer = await answer
        if callable(answer):
            answer = await answer(request)
        return web.Response(status=answer) if isinstance(answer, int) else answer

    async def _take(self, request: web.Request, response: web.StreamResponse) -> None:
        """Count a 2xx when its head goes out, which is when the sender may rely on it."""
        is_there = request.transport is not None and not request.transport.is_closing()
        if 200 <= response.status < 300:
            (self.taken if is_there else self.unheard).append(request[RECEIPT])
