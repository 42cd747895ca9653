"""`/attempts`: a search among the attempts on record, page by page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from eventflow.errors import InvalidInputError, UnboundedFilterError
from eventflow.event import utc_now
from eventflow.history.filters import FAILURES, RANGE_MAX, AttemptFilter, Cursor
from eventflow.history.records import OUTCOMES
from eventflow.outcome import FAILURE_REASONS
from eventflow_console.desk import DESK, Desk
from eventflow_console.lookups import attempts_page
from eventflow_console.pages.addresses import address
from eventflow_console.pages.answers import page
from eventflow_console.pages.views.attempts import rows_of
from eventflow_console.pages.words import sentence
from eventflow_console.parameters import attempts_in, cursor_in, flow_in

ROWS: Final = 50
_FIELDS: Final = ("outcome", "reason", "status", "type", "since", "until")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The reason for which a search is not made.

    Attributes:
        remedies: Searches that can be made, each with its label and its address.
    """

    sentence: str
    remedies: Sequence[tuple[str, str]] = ()


async def attempts(request: web.Request) -> web.Response:
    """Show the form, and the attempts that it selects."""
    desk = request.app[DESK]
    flow = flow_in(request.query, desk.flows) if request.query.get("flow") else desk.flows[0]
    query = {"flow": flow} | {name: request.query.get(name, "") for name in _FIELDS}
    status = 200
    try:
        found = await _found(desk, attempts_in(request.query, flow), cursor_in(request.query))
    except InvalidInputError as error:
        found, status = {"refusal": Refusal(sentence=sentence(str(error)))}, 400
    except UnboundedFilterError as error:
        found = {"refusal": Refusal(sentence=sentence(str(error)), remedies=_remedies(query))}
    return page(
        request,
        "attempts.html",
        nav="attempts",
        status=status,
        flows=desk.flows,
        outcomes=(FAILURES, *OUTCOMES),
        reasons=FAILURE_REASONS,
        query=query,
        **found,
    )


async def _found(desk: Desk, selection: AttemptFilter, after: Cursor | None) -> Mapping[str, Any]:
    found = await attempts_page(desk, selection, after=after, limit=ROWS)
    # Times such as `1h` are absolute in links, so that a colleague sees the same page later.
    here = {name: getattr(selection, name) for name in ("flow", *_FIELDS)}
    return {
        "refusal": None,
        "attempts": None if found.attempts is None else rows_of(found.attempts),
        "problem": "" if found.problem is None else found.problem.sentence,
        "newest": None if after is None else address("/attempts", **here),
        "older": None if found.next_cursor is None else address("/attempts", **here, after=found.next_cursor.text),
    }


def _remedies(query: Mapping[str, str]) -> Sequence[tuple[str, str]]:
    """Return the two nearest searches that are bounded."""
    now = utc_now()
    return (
        ("Search among failures", address("/attempts", **{**query, "outcome": FAILURES})),
        ("Search in the last 24 hours", address("/attempts", **{**query, "since": now - RANGE_MAX, "until": now})),
    )
