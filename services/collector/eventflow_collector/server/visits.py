"""Visits to addresses by which a sender lets an endpoint confirm its subscription."""

import asyncio
from collections.abc import Callable

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
        self._visiting: set[asyncio.Task[None]] = set()

    @override
    def begin(self, flow: str, visit: Visit, on_end: Callable[[bool], None]) -> None:
        if len(self._visiting) == VISITS_MAX:
            log.warning("subscription.unconfirmed", flow=flow, reason="too many at the same time")
            on_end(False)
            return
        task = asyncio.get_running_loop().create_task(self._make(flow, visit, on_end))
        self._visiting.add(task)
        task.add_done_callback(self._visiting.discard)

    async def close(self) -> None:
        """End the visits that are still being made; they count as failed."""
        await cancel_and_wait(*self._visiting)

    async def _make(self, flow: str, visit: Visit, on_end: Callable[[bool], None]) -> None:
        has_succeeded = False
        try:
            await self._fetcher.fetch(visit.url, hosts=visit.hosts)
            log.info("subscription.confirmed", flow=flow)
            has_succeeded = True
        except FetchError as error:
            log.warning("subscription.unconfirmed", flow=flow, reason=str(error))
        except Exception as error:  # noqa: BLE001 - a bug, which must not leave the sender without an answer
            self._internal_errors.note(error)
        finally:
            on_end(has_succeeded)
