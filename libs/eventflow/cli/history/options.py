"""The options that select attempts, and their values."""

from datetime import datetime, timedelta
from typing import Annotated

import typer

from eventflow.cli.options import moment_option
from eventflow.errors import UnboundedFilterError
from eventflow.event import utc_now
from eventflow.history.filters import FAILURES, PAGE_MAX, RANGE_MAX, AttemptFilter, Cursor
from eventflow.history.records import OUTCOMES
from eventflow.outcome import FAILURE_REASONS

MOMENT = timedelta(seconds=5)
"""More than the time since `--since 24h` was read, by which its range would be longer than a day."""

OutcomeOption = Annotated[
    str | None,
    typer.Option(
        "--outcome",
        metavar="WORD",
        help=f"Only attempts with this outcome: {', '.join(OUTCOMES)}, or `{FAILURES}` for all but delivered.",
        autocompletion=lambda incomplete: [word for word in (*OUTCOMES, FAILURES) if word.startswith(incomplete)],
    ),
]
ReasonOption = Annotated[
    str | None,
    typer.Option(
        "--reason",
        metavar="WORD",
        help="Only attempts that failed for this reason, such as server_error.",
        autocompletion=lambda incomplete: [word for word in FAILURE_REASONS if word.startswith(incomplete)],
    ),
]
StatusOption = Annotated[
    int | None, typer.Option("--status", min=100, max=999, help="Only attempts with this HTTP status of the target.")
]
TypeOption = Annotated[
    str | None, typer.Option("--type", metavar="TYPE", help="Only attempts for events of this type.")
]
SinceOption = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="TIME",
        help="Only attempts that started at this time or later: 2026-11-28, 2026-11-28T02:00 (UTC), or 2h for two "
        "hours ago; units are s, m, h and d.",
    ),
]
UntilOption = Annotated[
    str | None,
    typer.Option("--until", metavar="TIME", help="Only attempts that started before this time; by default now."),
]
LimitOption = Annotated[
    int, typer.Option("--limit", min=1, max=PAGE_MAX, help="Number of attempts to show, newest first.")
]
AfterOption = Annotated[
    str | None,
    typer.Option("--after", metavar="CURSOR", help="Continue a list: only attempts after this place in it."),
]


def filter_of(
    flow: str,
    *,
    outcome: str | None,
    reason: str | None,
    status: int | None,
    event_type: str | None,
    since: str | None,
    until: str | None,
) -> AttemptFilter:
    """Return the selection that the options describe.

    Raises:
        typer.BadParameter: A word is unknown, a time is not one, or the selection is unbounded.
    """
    if reason is not None and reason not in FAILURE_REASONS:
        raise typer.BadParameter(f"{reason!r} is none of: {', '.join(FAILURE_REASONS)}", param_hint="--reason")
    start, end = moment_option(since, "--since"), moment_option(until, "--until")
    try:
        return AttemptFilter(
            flow=flow,
            outcome=outcome,
            reason=reason,
            status=status,
            type=event_type,
            since=start,
            until=_end_of(start, end),
        )
    except UnboundedFilterError as error:
        raise typer.BadParameter(str(error), param_hint="--outcome, --since and --until") from None


def _end_of(start: datetime | None, end: datetime | None) -> datetime | None:
    """Return the end of a range. A range until now also gets one if it begins in the last day, so that it is short."""
    if start is None or end is not None or start + RANGE_MAX < utc_now() - MOMENT:
        return end
    return start + RANGE_MAX


def cursor_in(text: str | None) -> Cursor | None:
    """Return the place in a list that `--after` names.

    Raises:
        typer.BadParameter: It is malformed.
    """
    try:
        return None if text is None else Cursor.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--after") from None
