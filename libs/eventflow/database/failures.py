"""Errors of a database: whether it is away, or a statement has failed. Pure, so it knows every driver by its words.

asyncpg and psycopg give the SQLSTATE of PostgreSQL in an attribute `sqlstate` of their errors, psycopg2 in `pgcode`.
SQLAlchemy wraps these errors (https://www.postgresql.org/docs/current/errcodes-appendix.html).
"""

from collections.abc import Iterator
from typing import Final

_AWAY_CLASSES: Final = ("08", "53", "57P", "58")
"""A lost connection, no resources, a stopping server, and an error of its disk."""

_AWAY_STATES: Final = frozenset({"25006"})
"""The server accepts no changes: it is a standby, such as after a failover."""

_LOCKED: Final = "55P03"
_ABORTED: Final = "25P02"


def is_away(error: BaseException) -> bool:
    """Whether the error of a statement shows that the database cannot be used now, so that no event is at fault.

    An `OSError` does not show this, because a handler can raise one for a reason of its own, such as a missing file. If
    a connect or a statement of our own raises it, it does.
    """
    if any(getattr(each, "connection_invalidated", False) for each in _with_causes(error)):
        return True
    state = sqlstate_of(error)
    return state is not None and (state in _AWAY_STATES or state.startswith(_AWAY_CLASSES))


def is_locked(error: BaseException) -> bool:
    """Whether a statement waited for a lock for too long."""
    return sqlstate_of(error) == _LOCKED


def is_aborted(error: BaseException) -> bool:
    """Whether a statement was refused because an earlier one of the transaction has failed."""
    return sqlstate_of(error) == _ABORTED


def sqlstate_of(error: BaseException) -> str | None:
    """Return the SQLSTATE of an error, or of the first of those that it wraps; None if the server has sent none."""
    states = (getattr(each, name, None) for each in _with_causes(error) for name in ("sqlstate", "pgcode"))
    return next((state for state in states if isinstance(state, str)), None)


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    """Return an error and those that it wraps, the outermost first."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        wrapped = getattr(each, "orig", None)
        each = wrapped if isinstance(wrapped, BaseException) else each.__cause__
