"""The section `[handler]` of a flow. Pure."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator

from eventflow.settings.fields import Section, checked_by
from eventflow.settings.postgres_url import check_postgres_url
from eventflow.settings.value_text import check_literal

_REFERENCE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def _reference(value: str) -> str:
    if not _REFERENCE.fullmatch(value):
        raise ValueError("module:name is expected, such as shop.handlers:handle")
    return value


Reference = Annotated[str, AfterValidator(_reference)]
DatabaseUrl = Annotated[SecretStr, checked_by(check_literal), checked_by(check_postgres_url)]


class HandlerSettings(Section):
    """Handler of a flow: a Python function to which its events go, in place of the URL of a target."""

    call: Reference | None = Field(
        None, description="the function, such as `shop.handlers:handle`; a flow has either this or `target.url`"
    )
    database_url: DatabaseUrl | None = Field(
        None,
        validate_default=True,
        description="your database, in which each event takes effect once: `postgresql://user:password@host/database`; "
        "the function gets a connection of asyncpg, or of psycopg if it is not `async`; unset = no database",
    )
    session: Reference | None = Field(
        None,
        validate_default=True,
        description="your factory of SQLAlchemy sessions for this database, such as `shop.db:sessions`, in place of "
        "`database_url`: an `async_sessionmaker`, or a `sessionmaker` if the function is not `async`",
    )
    prepared_statements: bool = Field(
        False,
        description="keep statements prepared on each connection of `database_url`, which saves asyncpg a round trip "
        "for each; PgBouncer in transaction mode must be 1.21 or newer then, with `max_prepared_statements`",
    )
    timeout_s: float = Field(30.0, gt=0, le=300, description="deadline of one call, with its statements")
    concurrency: int = Field(
        8, ge=1, le=1000, description="most calls at a time in one processor, and so most connections to the database"
    )
    inbox_days: int = Field(
        14,
        ge=1,
        le=3650,
        description="days for which the inbox knows an event that has taken effect; a duplicate that comes later "
        "takes effect again",
    )

    @property
    def has_database(self) -> bool:
        """Whether the function works in a transaction."""
        return self.database_url is not None or self.session is not None

    @field_validator("database_url", "session")
    @classmethod
    def _check_database(cls, value: object, info: ValidationInfo) -> object:
        if value is not None and info.data.get("call", "") is None:
            raise ValueError("it has no effect, because call is not set")
        if value is not None and info.field_name == "session" and info.data.get("database_url") is not None:
            raise ValueError("set either this or database_url")
        return value

    @field_validator("prepared_statements")
    @classmethod
    def _check_prepared(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("session") is not None:
            raise ValueError("it has no effect with session: set it at your engine")
        return value
