"""Errors that show that a database is away, by whichever driver raises them."""

import asyncpg
import pytest

from eventflow.database.failures import is_away, is_locked


class OtherDriverError(Exception):
    """An error of another driver, which gives the SQLSTATE in the same attribute."""

    def __init__(self, sqlstate: str | None) -> None:
        super().__init__("the server says no")
        self.sqlstate = sqlstate


class WrappingError(Exception):
    """An error of SQLAlchemy, which wraps that of the driver."""

    def __init__(self, orig: Exception, *, connection_invalidated: bool = False) -> None:
        super().__init__(str(orig))
        self.orig, self.connection_invalidated = orig, connection_invalidated


@pytest.mark.parametrize("state", ["08006", "53300", "57P01", "57P03", "58030", "25006"])
def test_a_server_that_cannot_work_is_away(state: str) -> None:
    assert is_away(OtherDriverError(state))
    assert is_away(WrappingError(OtherDriverError(state)))


@pytest.mark.parametrize("state", ["23505", "40001", "57014", "42P01", "22001"])
def test_a_failed_statement_is_a_failure_of_its_event(state: str) -> None:
    assert not is_away(OtherDriverError(state))


def test_a_connection_that_sqlalchemy_has_given_up_is_away() -> None:
    assert is_away(WrappingError(OtherDriverError(None), connection_invalidated=True))


def test_an_error_of_the_driver_itself_counts() -> None:
    assert is_away(asyncpg.AdminShutdownError("terminating connection"))
    assert is_locked(asyncpg.LockNotAvailableError("canceling statement due to lock timeout"))


def test_a_missing_file_says_nothing_about_the_database() -> None:
    assert not is_away(FileNotFoundError("invoice.pdf"))


def test_causes_in_a_circle_end() -> None:
    first, second = ValueError(), ValueError()
    first.__cause__, second.__cause__ = second, first
    assert not is_away(first)
