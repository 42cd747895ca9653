"""The page in place of one that cannot be shown."""

from aiohttp import web

from eventflow_console.pages.answers import page


async def problem_page(request: web.Request, *, status: int, title: str, detail: str) -> web.Response:
    """Return a page that explains a problem to a person."""
    return page(request, "problem.html", status=status, title=title, detail=detail)
