"""A client of the target's audit."""

import asyncio
import json
import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp

_POLL_S = 0.25
_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Result for a set of expected events.

    Attributes:
        expected: Number of expected event ids.
        lost_ids: Expected ids that the target has not accepted.
        duplicates: Accepted receipts of expected ids beyond the first of each.
    """

    expected: int
    lost_ids: frozenset[str]
    duplicates: int

    @property
    def delivered(self) -> int:
        """Number of expected event ids that the target has accepted."""
        return self.expected - len(self.lost_ids)


class Audit:
    """Client of a target's audit at `url` (…/_audit). Use it as an async context manager."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S), raise_for_status=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def summary(self) -> dict[str, Any]:
        """Return the figures of `GET /_audit`."""
        async with self._get("") as response:
            summary: dict[str, Any] = await response.json()
            return summary

    async def accepted_counts(self) -> dict[str, int]:
        """Return the number of accepted receipts of each event id."""
        async with self._get("/ids") as response:
            rows = [json.loads(line) async for line in response.content]
        return {row["id"]: row["accepted"] for row in rows if row["accepted"]}

    async def arrivals_s(self, *, after_s: float = -math.inf) -> list[float]:
        """Return the arrival times of all requests after `after_s`, by the target's monotonic clock."""
        async with self._get(f"/arrivals?after_s={after_s}") as response:
            arrivals_s: list[float] = await response.json()
            return arrivals_s

    async def stalls_s(self) -> list[tuple[float, float]]:
        """Return the end of each stall, by the target's monotonic clock, and its delay at that time."""
        async with self._get("/stalls") as response:
            return [(ended_s, late_s) for ended_s, late_s in await response.json()]

    async def wait_for(
        self,
        event_ids: set[str],
        *,
        timeout_s: float,
        accepted_before: int = 0,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> Delivery:
        """Wait until the target has accepted all these ids, at most `timeout_s`.

        Args:
            accepted_before: Number of ids that the target had accepted before the first of these was sent.
            on_progress: Called with an estimate of the accepted ids: their number, without a look at the ids.
        """
        deadline_s = time.monotonic() + timeout_s
        while True:
            late = time.monotonic() > deadline_s
            arrived = (await self.summary())["distinct_ids_accepted"] - accepted_before
            on_progress(max(0, min(arrived, len(event_ids))))
            # The list of ids is long, so it is read only if the number can be complete.
            if late or arrived >= len(event_ids):
                delivery = _delivery(event_ids, await self.accepted_counts())
                if late or not delivery.lost_ids:
                    return delivery
            await asyncio.sleep(_POLL_S)

    def _get(self, path: str) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        if self._session is None:
            raise RuntimeError("the audit must be entered with `async with` first")
        return self._session.get(f"{self._url}{path}")


def _delivery(event_ids: set[str], accepted: Mapping[str, int]) -> Delivery:
    return Delivery(
        expected=len(event_ids),
        lost_ids=frozenset(event_id for event_id in event_ids if event_id not in accepted),
        duplicates=sum(accepted[event_id] - 1 for event_id in event_ids if event_id in accepted),
    )
