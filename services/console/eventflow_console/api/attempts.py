"""Attempts: pages of them, all of a selection, and those of one event."""

from collections.abc import AsyncIterator, Callable

from aiohttp import web

from eventflow.errors import HistoryUnavailableError
from eventflow.history.documents import action_document, document_of
from eventflow.history.filters import Cursor
from eventflow_console.api.answers import address, answer, parameters_of, sentences_of
from eventflow_console.desk import DESK
from eventflow_console.lookups import AttemptsPage, actions_page, all_attempts, attempts_page
from eventflow_console.parameters import (
    attempts_in,
    cursor_in,
    flow_in,
    limit_in,
    named_flow_in,
)
from eventflow_console.rows import row_of

SELECTION = ("flow", "outcome", "reason", "status", "type", "since", "until")
ROWS_MAX = 1_000_000
ROWS_USUAL = 100_000


async def get_attempts(request: web.Request) -> web.Response:
    """Answer with a page of attempts, the newest first."""
    desk, parameters = request.app[DESK], parameters_of(request, *SELECTION, "after", "limit")
    flow = flow_in(parameters, desk.flows)
    page = await attempts_page(
        desk, attempts_in(parameters, flow), after=cursor_in(parameters), limit=limit_in(parameters)
    )
    following = None if page.next_cursor is None else address(request.path, parameters, after=page.next_cursor.text)
    return answer(
        {
            "flow": flow,
            "attempts": None if page.attempts is None else [document_of(attempt) for attempt in page.attempts],
            "next": following,
            "problems": sentences_of(page.problem),
        }
    )


async def stream_attempts(request: web.Request) -> web.StreamResponse:
    """Answer with all attempts of a selection, one in each row. If more follow, the last row has their address."""
    desk, parameters = request.app[DESK], parameters_of(request, *SELECTION, "after", "limit")
    flow = flow_in(parameters, desk.flows)
    limit = limit_in(parameters, most=ROWS_MAX) if "limit" in parameters else ROWS_USUAL
    pages = all_attempts(desk, attempts_in(parameters, flow), after=cursor_in(parameters), most=limit)
    rows = _rows(pages, limit, lambda cursor: address(request.path, parameters, after=cursor.text))
    return await desk.rows.send(request, rows, name=f"attempts-{flow}")


async def get_actions(request: web.Request) -> web.Response:
    """Answer with the latest actions of operators."""
    desk, parameters = request.app[DESK], parameters_of(request, "flow", "limit")
    page = await actions_page(desk, flow=named_flow_in(parameters, desk.flows), limit=limit_in(parameters))
    actions = None if page.value is None else [action_document(action) for action in page.value]
    return answer({"actions": actions, "problems": sentences_of(page.problem)})


async def _rows(
    pages: AsyncIterator[AttemptsPage], limit: int, address_after: Callable[[Cursor], str]
) -> AsyncIterator[bytes]:
    left = limit
    async for page in pages:
        if page.problem is not None:
            raise HistoryUnavailableError(page.problem.sentence)
        attempts = page.attempts or ()
        left -= len(attempts)
        # Written together: a client that reads slowly is judged by a page of attempts, and not by each of them.
        lines = b"".join(row_of(document_of(attempt)) for attempt in attempts)
        if left <= 0 and page.next_cursor is not None:
            lines += row_of({"next": address_after(page.next_cursor)})
        if lines:
            yield lines
