"""Visits to addresses by which a sender lets an endpoint confirm its subscription."""

import asyncio
from collections.abc import Callable
from functools import partial

import structlog
from typing_extensions import override

from eventflow.tasks import cancel_and_wait
from eventflow.telemetry.harmless import InternalErrors
from eventflow_collector.fetch import Fetcher, FetchError
from eventflow_collector.ingest import Visits
from eventflow_collector.senders.handshake import Visit

VISITS_MAX = 8
"""Visits at the same time. A sender repeats the request of one that is refused."""

log = structlog.stdlib.get_logger()


class Visitor(Visits):
    """Makes each visit in a task: visits are seldom, and wait for a stranger's server."""

    def __init__(self, fetcher: Fetcher, internal_errors: InternalErrors) -> None:
        """Fetch by `fetcher`."""
        self._fetcher = fetcher
        self._internal_errors = internal_errors
        self._visiting: set[asyncio.Task[bool]] = set()

    @override
    def begin(self, flow: str, visit: Visit, on_end: Callable[[bool], None]) -> None:
        if len(self._visiting) == VISITS_MAX:
            log.warning("subscription.unconfirmed", flow=flow, reason="too many at the same time")
            on_end(False)
            return
        task = asyncio.get_running_loop().create_task(self._has_succeeded(flow, visit))
        self._visiting.add(task)
        # A callback, and not the end of the task: one that is cancelled before it starts never runs.
        task.add_done_callback(partial(self._end, on_end))

    async def close(self) -> None:
        """End the visits that are still being made; they count as failed."""
        await cancel_and_wait(*self._visiting)

    async def _has_succeeded(self, flow: str, visit: Visit) -> bool:
        try:
            await self._fetcher.fetch(visit.url, hosts=visit.hosts)
        except FetchError as error:
            log.warning("subscription.unconfirmed", flow=flow, reason=str(error))
            return False
        log.info("subscription.confirmed", flow=flow)
        return True

    def _end(self, on_end: Callable[[bool], None], task: asyncio.Task[bool]) -> None:
        self._visiting.discard(task)
        try:
            error = None if task.cancelled() else task.exception()
            on_end(not task.cancelled() and error is None and task.result())
            if error is not None:
                self._internal_errors.note(error)
        except Exception as error:  # noqa: BLE001 - a bug
            self._internal_errors.note(error)
