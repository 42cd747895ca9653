"""Retention, and the state of the store."""

from datetime import date, datetime

from eventflow.history.records import unix_microseconds
from eventflow.postgres.connection import Connection

ROWS_MAX = 5000
"""Rows that one transaction deletes, so that it holds its locks only for a short time."""

_MAINTAIN_LOCK = "SELECT pg_try_advisory_xact_lock(hashtext('eventflow.maintain'))"

_MINUTE_US = 60_000_000

# Tables that are kept as long as the counts by minute, and the condition for an old row. `ctid` is the place of a row.
_OLD_ROWS = {
    "minutes": "minute < $1",
    "hours": "minute < $1",
    "flow_minutes": "at < $1",
    "gaps": "until < $1",
    "writers": "seen_at < $1",
    "actions": "at < $1",
}

_OLDEST = """
    WITH RECURSIVE flows (flow) AS (
        (SELECT flow FROM eventflow.attempts ORDER BY flow LIMIT 1)
        UNION ALL
        SELECT (SELECT flow FROM eventflow.attempts WHERE flow > flows.flow ORDER BY flow LIMIT 1)
        FROM flows WHERE flow IS NOT NULL
    )
    SELECT min((SELECT started_at FROM eventflow.attempts WHERE flow = flows.flow ORDER BY started_at LIMIT 1))
    FROM flows
"""

_SIZE = """
    SELECT sum(pg_total_relation_size(pg_class.oid))::bigint
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = 'eventflow' AND relkind = 'r'
"""

# Rights by which a role can read or record. The console and the commands need some more, for their own changes.
_MISSING_RIGHTS = """
    SELECT name || ' on ' || relation FROM (VALUES
        ('SELECT', 'attempts'), ('SELECT', 'minutes'), ('SELECT', 'hours'), ('SELECT', 'flow_minutes'),
        ('SELECT', 'gaps'), ('SELECT', 'writers'), ('SELECT', 'actions'),
        ('INSERT', 'attempts'), ('INSERT', 'minutes'), ('UPDATE', 'minutes'), ('INSERT', 'hours'),
        ('UPDATE', 'hours'), ('INSERT', 'gaps'), ('INSERT', 'writers'), ('UPDATE', 'writers')
    ) AS needed (name, relation)
    WHERE NOT has_table_privilege('eventflow.' || relation, name)
"""


async def add_days(connection: Connection, days: list[date]) -> None:
    """Make the partitions of days that have none."""
    await connection.fetch("SELECT eventflow.add_day(day) FROM unnest($1::date[]) AS day", days)


async def drop_day_before(connection: Connection, first_kept: date) -> bool:
    """Drop the oldest day before another one; return whether there may be more."""
    return await _is_alone(connection) and await connection.fetchval("SELECT eventflow.drop_day_before($1)", first_kept)


async def delete_rows_before(connection: Connection, moment: datetime) -> bool:
    """Delete some of the rows that are kept as long as the counts by minute; return whether there may be more."""
    if not await _is_alone(connection):
        return False
    most = 0
    for table, condition in _OLD_ROWS.items():
        bound = moment if "minute" not in condition else unix_microseconds(moment) // _MINUTE_US
        rows = f"SELECT ctid FROM eventflow.{table} WHERE {condition} LIMIT {ROWS_MAX}"  # noqa: S608 - constants
        deleted = await connection.execute(
            f"DELETE FROM eventflow.{table} WHERE ctid = ANY(ARRAY({rows}))",  # noqa: S608 - constants
            bound,
        )
        most = max(most, int(deleted.rpartition(" ")[2]))
    return most == ROWS_MAX


async def size_bytes(connection: Connection) -> int:
    """Return the size of all tables with their indexes."""
    return int(await connection.fetchval(_SIZE))


async def oldest(connection: Connection) -> datetime | None:
    """Return the start of the oldest attempt: the oldest one of each flow by its index, and the oldest one of these."""
    found: datetime | None = await connection.fetchval(_OLDEST)
    return found


async def missing_rights(connection: Connection) -> list[str]:
    """Return the rights that the role lacks, such as `INSERT on attempts`."""
    return [right for (right,) in await connection.fetch(_MISSING_RIGHTS)]


async def _is_alone(connection: Connection) -> bool:
    """Whether no other process does this now, until the transaction ends."""
    return bool(await connection.fetchval(_MAINTAIN_LOCK))
