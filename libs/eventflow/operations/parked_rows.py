"""Parked rows of the outbox, as an operator handles them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from eventflow.operations.databases import opened
from eventflow.outbox.parked import ParkedSelection, count_parked, delete_some, list_parked, retry_some
from eventflow.outbox.row import Row

if TYPE_CHECKING:
    from eventflow.postgres.connection import Connection

Change = Callable[["Connection", ParkedSelection], Awaitable[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Parked rows at one moment.

    Attributes:
        rows: The oldest of them, without bodies.
        flows: Number of all that were selected, by flow.
        selection: The same selection without rows that are parked later.
    """

    rows: Sequence[Row]
    flows: Mapping[str, int]
    selection: ParkedSelection

    @property
    def total(self) -> int:
        """Number of all that were selected."""
        return sum(self.flows.values())


async def find(url: str, selection: ParkedSelection, *, limit: int) -> Found:
    """Look for parked rows.

    Raises:
        DatabaseError: The database cannot be reached.
    """
    async with opened(url) as connections:
        from eventflow.database.upkeep import LOOKING  # noqa: PLC0415 - `opened` has found the driver

        async with connections.transaction(LOOKING) as connection:
            now = await connection.fetchval("SELECT now()")
            counted = replace(selection, until=now)
            flows = await count_parked(connection, counted)
            rows = await list_parked(connection, counted, limit=limit)
    return Found(rows=rows, flows=flows, selection=counted)


async def retry(url: str, selection: ParkedSelection) -> int:
    """Let parked rows be tried again; return their number. If it fails half-way, run it again."""
    return await _change(url, selection, retry_some)


async def delete(url: str, selection: ParkedSelection) -> int:
    """Delete parked rows; return their number. If it fails half-way, run it again."""
    return await _change(url, selection, delete_some)


async def _change(url: str, selection: ParkedSelection, change: Change) -> int:
    """Change the rows, some in each transaction."""
    changed = 0
    async with opened(url) as connections:
        from eventflow.database.upkeep import CHANGING  # noqa: PLC0415 - the same

        while True:
            async with connections.transaction(CHANGING) as connection:
                some = await change(connection, selection)
            if not some:
                return changed
            changed += some
