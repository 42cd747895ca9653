"""The page in place of one that cannot be shown."""

from html import escape

from aiohttp import web


async def problem_page(
    request: web.Request,  # noqa: ARG001
    *,
    status: int,
    title: str,
    detail: str,
) -> web.Response:
    """Return a page that explains a problem to a person."""
    text = f"<!doctype html><title>{escape(title)}</title><h1>{escape(title)}</h1><p>{escape(detail)}"
    return web.Response(status=status, text=text, content_type="text/html")
