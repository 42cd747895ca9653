"""The target of all events: a process beside the cluster under test that records each request with its own clock."""

import asyncio
import sys
from types import TracebackType
from typing import Self

import aiohttp

from sandbox.ports import free_port
from sandbox.processes import ChildProcess, scrubbed_environment
from sandbox.target.audit import Audit
from tests.support.wait import eventually


class AuditingTarget:
    """Target without a limit, which records all requests. Use it as an async context manager.

    Its clock is the monotonic clock of this machine, which the load uses too.

    Args:
        host: Address of this machine that the processors of the cluster can reach.
    """

    def __init__(self, host: str) -> None:
        self.url = f"http://{host}:{free_port()}/"
        self.audit = Audit(f"{self.url}_audit")
        port = self.url.rstrip("/").rpartition(":")[2]
        self._process = ChildProcess(
            "target",
            [sys.executable, "-m", "sandbox.target", "--host", host, "--port", port, "--rate", "0"],
            env=scrubbed_environment(),
        )

    async def __aenter__(self) -> Self:
        self._process.start()
        try:
            await self.audit.__aenter__()
            await eventually(self._listens, what=lambda: self._process.explain("the target listens"))
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.audit.__aexit__(kind, error, trace)
        await asyncio.to_thread(self._process.stop)

    async def _listens(self) -> bool:
        assert self._process.alive, self._process.explain("the target has ended")
        try:
            await self.audit.summary()
        except aiohttp.ClientError:
            return False
        return True
