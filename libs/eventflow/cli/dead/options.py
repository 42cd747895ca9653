"""The options that select dead letters, and their values."""

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from eventflow.cli.dead.dead_letters import REASONS, Selection
from eventflow.event import parse_time, utc_now
from eventflow.network.failure import MEANINGS

ReasonOption = Annotated[
    list[str] | None,
    typer.Option(
        "--reason",
        metavar="WORD",
        help="Only dead letters with this reason, such as server_error, or with this detail, such as no_listener. "
        "May be repeated.",
        autocompletion=lambda incomplete: [word for word in (*REASONS, *MEANINGS) if word.startswith(incomplete)],
    ),
]
TypeOption = Annotated[
    list[str] | None,
    typer.Option("--type", metavar="TYPE", help="Only events of this type. May be repeated."),
]
SinceOption = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="TIME",
        help="Only events that were given up at this time or later: 2026-11-28, 2026-11-28T02:00 (UTC), or 2h for two "
        "hours ago; units are s, m, h and d.",
    ),
]
UntilOption = Annotated[
    str | None,
    typer.Option("--until", metavar="TIME", help="Only events that were given up before this time."),
]
IdsArgument = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Ids of events.", show_default=False)]
AllOption = Annotated[bool, typer.Option("--all", help="All dead letters that are in the queue now.")]

_AGO = re.compile(r"(\d{1,6})([smhd])", re.ASCII)
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SHORT = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII)


def selection_of(
    reasons: Sequence[str] | None,
    types: Sequence[str] | None,
    since: str | None,
    until: str | None,
    *,
    ids: Sequence[str] | None = None,
) -> Selection:
    """Return the selection that the options describe.

    Raises:
        typer.BadParameter: A reason is unknown, or a time is not one.
    """
    for word in reasons or ():
        if word not in REASONS and word not in MEANINGS:
            known = f"reasons are {', '.join(REASONS)}; details are {', '.join(MEANINGS)}"
            raise typer.BadParameter(f"{word!r} is unknown: {known}", param_hint="--reason")
    return Selection(
        ids=frozenset(ids or ()),
        reasons=frozenset(reasons or ()),
        types=frozenset(types or ()),
        since=None if since is None else moment_of(since, "--since"),
        until=None if until is None else moment_of(until, "--until"),
    )


def moment_of(text: str, option: str) -> datetime:
    """Parse a time: RFC 3339, the same without seconds or without a zone (UTC), a date, or a duration before now.

    Raises:
        typer.BadParameter: It is none of them.
    """
    if ago := _AGO.fullmatch(text):
        with suppress(OverflowError):  # before the year 1
            return utc_now() - timedelta(seconds=int(ago[1]) * _UNITS_S[ago[2]])
    if short := _SHORT.fullmatch(text):
        text = f"{short[1]}T{short[2] or '00:00'}{short[3] or ':00'}{short[4] or 'Z'}"
    moment = parse_time(text)
    if moment is None:
        expected = "a time such as 2026-11-28, 2026-11-28T02:00 or 2026-11-28T02:00:00+01:00, or 2h"
        raise typer.BadParameter(f"{text!r}: {expected} is expected", param_hint=option)
    return moment.astimezone(UTC)
