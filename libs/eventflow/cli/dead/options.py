"""The options that select dead letters, and their values."""

from collections.abc import Sequence
from typing import Annotated

import typer

from eventflow.cli.options import moment_option, usage_of
from eventflow.network.failure import MEANINGS
from eventflow.operations.dead.letters import REASONS
from eventflow.operations.dead.selection import Selection, require_reasons

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
StatusOption = Annotated[
    list[int] | None,
    typer.Option(
        "--status",
        metavar="STATUS",
        min=100,
        max=599,
        help="Only events whose last attempt got this HTTP status, such as 422. May be repeated.",
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


def selection_of(
    reasons: Sequence[str] | None,
    types: Sequence[str] | None,
    since: str | None,
    until: str | None,
    *,
    statuses: Sequence[int] | None = None,
) -> Selection:
    """Return the selection that the options describe.

    Raises:
        typer.BadParameter: A reason is unknown, or a time is not one.
    """
    with usage_of("--reason"):
        require_reasons(reasons or ())
    return Selection(
        reasons=frozenset(reasons or ()),
        statuses=frozenset(statuses or ()),
        types=frozenset(types or ()),
        since=moment_option(since, "--since"),
        until=moment_option(until, "--until"),
    )
