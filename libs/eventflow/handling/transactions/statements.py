"""The statements of Event Flow in the transaction of a handler, and the meaning of their errors. Pure."""

from dataclasses import dataclass
from typing import Final

from eventflow.database.failures import is_locked, sqlstate_of
from eventflow.database.migrations import MIGRATE_COMMAND, TITLE
from eventflow.errors import DatabaseSchemaError, DatabaseUnavailableError, InboxLockedError
from eventflow.excerpt import excerpt_of

TRANSACTION_ID: Final = "SELECT CAST(pg_current_xact_id() AS text)"
VERSION: Final = "SELECT max(version) FROM eventflow.database_versions"

CLEAN_ROWS: Final = 5000
"""Entries that one statement deletes, so that it ends soon."""

_DATA_EXCEPTION: Final = "22"
_CONFLICT: Final = "40"
"""The server has ended one of two conflicting transactions. If the database isolates them as REPEATABLE READ or above,
this is the end of a claim that has waited for another one of the same event."""

_NO_TABLE: Final = frozenset({"42P01", "3F000"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits that the server keeps for each transaction.

    Attributes:
        statement_s: Longest time for a statement.
        lock_s: Longest wait for a lock. It also bounds the wait for another processor with the same event.
        idle_s: Longest time between two statements. After it the server ends the connection.
    """

    statement_s: float
    lock_s: float
    idle_s: float

    @classmethod
    def of(cls, timeout_s: float) -> "Limits":
        """Return the limits for calls with this deadline, which is earlier, unless this process stands still."""
        return cls(statement_s=timeout_s, lock_s=max(timeout_s / 2, 0.05), idle_s=timeout_s + 10.0)


def claim_with(placeholders: tuple[str, str, str], limits: Limits) -> str:
    """Return the first statement of a transaction: it sets the limits, and writes an event into the inbox.

    It returns a row if the event was not there. The settings hold for this transaction only. So they also hold behind
    PgBouncer, which gives each transaction to another connection. They are a part of this statement, because another
    one would take a round trip for each event. A subquery with a volatile function is neither removed nor delayed.
    """
    values = {
        "statement_timeout": _milliseconds(limits.statement_s),
        "lock_timeout": _milliseconds(limits.lock_s),
        "idle_in_transaction_session_timeout": _milliseconds(limits.idle_s),
        # The event is acked after the COMMIT, so a COMMIT that a crash of the server can undo would lose it.
        "synchronous_commit": "coalesce(nullif(current_setting('synchronous_commit'), 'off'), 'on')",
    }
    settings = ", ".join(f"set_config('{name}', {value}, true)" for name, value in values.items())
    return (
        f"INSERT INTO eventflow.inbox (flow, source, id) SELECT {', '.join(placeholders)} "  # noqa: S608 - no input
        f"FROM (SELECT {settings}) AS settings ON CONFLICT DO NOTHING RETURNING 1"
    )


def _milliseconds(seconds: float) -> str:
    return f"'{round(seconds * 1000)}'"


def proof_with(placeholders: tuple[str, str, str]) -> str:
    """Return a statement that returns a row if the transaction is the one that has claimed the event.

    It fails in a transaction that is aborted. A COMMIT there would roll back, without an error.
    """
    columns = " AND ".join(
        f"{name} = {each}" for name, each in zip(("flow", "source", "id"), placeholders, strict=True)
    )
    return f"SELECT 1 FROM eventflow.inbox WHERE {columns} AND xmin = CAST(pg_current_xact_id() AS xid)"  # noqa: S608 - no input


def clean_of(flow: str, *, days: int) -> str:
    """Return the statement that deletes some old entries of a flow from the inbox, and returns their number.

    One process at a time does this. A lock of the transaction works behind PgBouncer too.
    """
    return f"""
        WITH turn AS MATERIALIZED (SELECT pg_try_advisory_xact_lock(hashtext('eventflow.inbox')) AS is_ours),
            old AS MATERIALIZED (
                SELECT ctid FROM eventflow.inbox
                WHERE (SELECT is_ours FROM turn) AND flow = '{flow}' AND handled_at < now() - interval '{days} days'
                LIMIT {CLEAN_ROWS}
            ),
            gone AS (DELETE FROM eventflow.inbox WHERE ctid = ANY (ARRAY(SELECT ctid FROM old)) RETURNING 1)
        SELECT count(*) FROM gone
    """  # noqa: S608 - the name of a flow has no special characters


def translated(error: Exception) -> Exception:
    """Return the meaning of an error of a connect, a BEGIN or a claim: no function has run yet.

    The database cannot be used then, also if its schema is missing. Only a value of the event that the database cannot
    keep, such as a character that its encoding lacks, is the fault of this event.
    """
    state = sqlstate_of(error) or ""
    if is_locked(error) or state.startswith(_CONFLICT):
        return InboxLockedError("another processor works on this event")
    if state.startswith(_DATA_EXCEPTION):
        return error
    if state in _NO_TABLE:
        return DatabaseSchemaError(f"{TITLE} is missing: run `{MIGRATE_COMMAND}`")
    return DatabaseUnavailableError(words_of(error))


def words_of(error: BaseException) -> str:
    """Return the first line of an error, with its kind if it says nothing else."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    text = excerpt_of(str(error).partition("\n")[0])
    return type(error).__name__ if text is None else text
