"""Fetches the certificates that requests wait for."""

import asyncio
from collections.abc import Callable
from functools import partial

import structlog
from typing_extensions import override

from eventflow.event import utc_now
from eventflow.tasks import cancel_and_wait
from eventflow.telemetry.harmless import InternalErrors
from eventflow_collector.fetch import Fetcher, FetchError
from eventflow_collector.ingest import CertificateFetches
from eventflow_collector.senders.certificates import Awaited, Certificates

FETCHES_MAX = 4
"""Certificates that are fetched at the same time. Anyone can name an address at a sender's host."""

WAITING_MAX = 64
"""Requests that wait for a certificate, and hold their bodies meanwhile. The others are answered 503."""

log = structlog.stdlib.get_logger()


class CertificateFetcher(CertificateFetches):
    """Fetches each certificate once for all requests that wait for it, in a task, because this is seldom."""

    def __init__(self, fetcher: Fetcher, certificates: Certificates, internal_errors: InternalErrors) -> None:
        """Fetch by `fetcher` into `certificates`."""
        self._fetcher = fetcher
        self._certificates = certificates
        self._internal_errors = internal_errors
        self._waiting: dict[str, list[Callable[[], None]]] = {}
        self._fetching: set[asyncio.Task[None]] = set()

    @override
    def begin(self, awaited: Awaited, on_end: Callable[[], None]) -> None:
        waiting = self._waiting.get(awaited.address)
        is_full = sum(map(len, self._waiting.values())) >= WAITING_MAX
        if is_full or (waiting is None and len(self._waiting) >= FETCHES_MAX):
            on_end()
        elif waiting is not None:
            waiting.append(on_end)
        else:
            self._waiting[awaited.address] = [on_end]
            task = asyncio.get_running_loop().create_task(self._fetch(awaited))
            self._fetching.add(task)
            # Not at the end of the task itself: one that is cancelled before its first step does not run at all.
            task.add_done_callback(partial(self._end, awaited.address))

    async def close(self) -> None:
        """End the fetches; the requests that wait for them go on without."""
        await cancel_and_wait(*self._fetching)

    async def _fetch(self, awaited: Awaited) -> None:
        address = awaited.address
        try:
            document = await self._fetcher.fetch(address, hosts=awaited.hosts)
            self._certificates.keep(address, document, utc_now())
            log.info("certificate.fetched", is_usable=self._certificates.key_at(address, utc_now()) is not None)
        except FetchError as error:
            log.warning("certificate.failed", reason=str(error))
        except Exception as error:  # noqa: BLE001 - a bug, and the requests go on without the certificate
            self._internal_errors.note(error)

    def _end(self, address: str, task: asyncio.Task[None]) -> None:
        self._fetching.discard(task)
        # Only now: a request that came meanwhile would not have waited for an address that has failed.
        if not self._certificates.is_known(address, utc_now()):
            self._certificates.keep_failure(address, utc_now())
        for on_end in self._waiting.pop(address):
            on_end()
