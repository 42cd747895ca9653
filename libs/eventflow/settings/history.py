"""The section `[history]`. Pure."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from eventflow.settings.fields import MIB, Section, checked_by
from eventflow.settings.postgres_url import POSTGRES_FORM, check_postgres_url
from eventflow.settings.secret_text import secrets_in
from eventflow.settings.value_text import check_literal

_SQLITE = "sqlite:///"
_EXPECTED = f"{_SQLITE}PATH or {POSTGRES_FORM}"


def _check_history_url(url: str) -> None:
    is_file = url.startswith(_SQLITE) and url != _SQLITE and url.isprintable()
    if not is_file:
        check_postgres_url(url, expected=_EXPECTED)


def _pattern(pattern: str) -> str:
    try:
        re.compile(pattern.encode())
    except (re.error, OverflowError) as error:
        raise ValueError(f"a regular expression is expected: {error}") from None
    return pattern


def _patterns(value: object) -> object:
    """Split the text of a variable at its line ends, or read a JSON array: a pattern may contain commas."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return secrets_in(value)
    return [line.strip() for line in value.splitlines() if line.strip()]


class HistorySettings(Section):
    """The record of every attempt, with the target's answers. No event waits for it or depends on it."""

    url: Annotated[SecretStr, checked_by(check_literal), checked_by(_check_history_url)] | None = Field(
        None,
        description="the store: `sqlite:////var/lib/eventflow/history.db` for one machine (three slashes begin a "
        "relative path, four an absolute one), or `postgresql://user:password@host/database`, which requires the extra "
        "`event-flow[postgres]`; unset = no history",
    )
    record: Literal["all", "failed"] = Field(
        "all",
        description="attempts that get a row: `all`, or `failed`; the counts by minute contain all of them",
    )
    answers: Literal["failed", "all", "none"] = Field(
        "failed", description="answers of the target that are kept: those of `failed` attempts, `all`, or `none`"
    )
    answer_bytes: int = Field(512, ge=0, le=8192, description="bytes of an answer that are kept")
    redact: Annotated[tuple[Annotated[str, AfterValidator(_pattern)], ...], BeforeValidator(_patterns)] = Field(
        (),
        description="regular expressions, one in each line or as a JSON array; their matches are struck out of "
        "answers before these are kept; so are the secrets of the settings, without a pattern",
    )
    flush_s: float = Field(0.5, ge=0.05, le=60, description="longest time for which a record waits to be written")
    buffer_bytes: int = Field(
        16 * MIB,
        ge=64 * 1024,
        le=1024 * MIB,
        description="memory for records that wait to be written; more are dropped, and counted as a gap",
    )
    min_free_bytes: int = Field(
        1024 * MIB,
        ge=0,
        description="room on the disk of an SQLite file that is left to other programs, such as RabbitMQ, which takes "
        "no events on a full disk; with less, records are dropped, and counted as a gap; 0 = no such limit",
    )
    retention_days: int = Field(7, ge=1, le=3650, description="days for which attempts are kept")
    minutes_retention_days: int = Field(90, ge=1, le=3650, description="days for which the counts by minute are kept")
