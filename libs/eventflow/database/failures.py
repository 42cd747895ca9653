"""Errors of a database: whether it is away, or a statement has failed. Pure, so it knows every driver by its words.

asyncpg, psycopg and SQLAlchemy give the SQLSTATE of PostgreSQL in an attribute of their errors, or of the errors that
these wrap (https://www.postgresql.org/docs/current/errcodes-appendix.html).
"""

from collections.abc import Iterator
from typing import Final

_AWAY_CLASSES: Final = ("08", "53", "57P", "58")
"""A lost connection, no resources, a stopping server, and an error of its disk."""

_AWAY_STATES: Final = frozenset({"25006"})
"""The server accepts no changes: it is a standby, such as after a failover."""

_LOCKED: Final = "55P03"


def is_away(error: BaseException) -> bool:
    """Whether the error of a statement shows that the database cannot be used now, so that no event is at fault.

    An `OSError` does not show this, because a handler can raise one for a reason of its own, such as a missing file. If
    a connect or a statement of our own raises it, it does.
    """
    for each in _with_causes(error):
        if getattr(each, "connection_invalidated", False):
            return True
        state = _state_of(each)
        if state is not None:
            return state in _AWAY_STATES or state.startswith(_AWAY_CLASSES)
    return False


def is_locked(error: BaseException) -> bool:
    """Whether a statement waited for a lock for too long."""
    return any(_state_of(each) == _LOCKED for each in _with_causes(error))


def _state_of(error: BaseException) -> str | None:
    state = getattr(error, "sqlstate", None)
    return state if isinstance(state, str) else None


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    """Return an error and those that it wraps, the outermost first."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        wrapped = getattr(each, "orig", None)
        each = wrapped if isinstance(wrapped, BaseException) else each.__cause__
