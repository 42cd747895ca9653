"""Rows that the relay does not try any more. An operator lets them be tried again, or deletes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from eventflow.outbox.row import Row

if TYPE_CHECKING:
    from eventflow.postgres.connection import Connection

CHANGED_MAX: Final = 5000
"""Rows that one transaction changes, so that it holds its locks only for a short time."""

_SELECTED: Final = """
    parked_at IS NOT NULL AND ($1::bigint[] IS NULL OR number = ANY ($1)) AND ($2::text IS NULL OR flow = $2)
    AND ($3::timestamptz IS NULL OR parked_at <= $3)
"""

_LIST: Final = f"""
    SELECT number, flow, id, source, type, octet_length(body) AS body_bytes, created_at, parked_at, tries, error
    FROM eventflow.outbox WHERE {_SELECTED} ORDER BY number LIMIT $4
"""  # noqa: S608 - a constant

_COUNT: Final = f"""
    SELECT flow, count(*) AS rows FROM eventflow.outbox WHERE {_SELECTED} GROUP BY flow ORDER BY flow
"""  # noqa: S608 - the same

_SOME: Final = f"""
    SELECT number FROM eventflow.outbox WHERE {_SELECTED} ORDER BY number LIMIT {CHANGED_MAX} FOR UPDATE
"""  # noqa: S608 - the same

_RETRY: Final = f"""
    UPDATE eventflow.outbox SET parked_at = NULL, retry_at = NULL, tries = 0 WHERE number IN ({_SOME})
"""  # noqa: S608 - the same

_DELETE: Final = f"DELETE FROM eventflow.outbox WHERE number IN ({_SOME})"  # noqa: S608 - the same


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedSelection:
    """Parked rows that meet all conditions; None is no condition.

    Attributes:
        numbers: They have one of these numbers.
        flow: They are for this flow.
        until: They were parked at this time or earlier.
    """

    numbers: Sequence[int] | None = None
    flow: str | None = None
    until: datetime | None = None

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The first three arguments of each statement."""
        return self.numbers, self.flow, self.until


async def list_parked(connection: "Connection", selection: ParkedSelection, *, limit: int) -> Sequence[Row]:
    """Return the oldest of the selected rows, without their bodies."""
    return [dict(row) for row in await connection.fetch(_LIST, *selection.arguments, limit)]


async def count_parked(connection: "Connection", selection: ParkedSelection) -> Mapping[str, int]:
    """Return the number of selected rows by flow."""
    return {row["flow"]: row["rows"] for row in await connection.fetch(_COUNT, *selection.arguments)}


async def retry_some(connection: "Connection", selection: ParkedSelection) -> int:
    """Let some of the selected rows be tried again, as if they were new; return their number, 0 if none is left."""
    return _changed(await connection.execute(_RETRY, *selection.arguments))


async def delete_some(connection: "Connection", selection: ParkedSelection) -> int:
    """Delete some of the selected rows; return their number, 0 if none is left."""
    return _changed(await connection.execute(_DELETE, *selection.arguments))


def _changed(status: str) -> int:
    return int(status.rpartition(" ")[2])
