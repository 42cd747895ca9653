"""Answers to requests for pages: a template in its frame, and the notices that every page has."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from aiohttp import web

from eventflow_console.auth.user import USER
from eventflow_console.desk import DESK
from eventflow_console.history import Problem
from eventflow_console.pages.rendering import render
from eventflow_console.pages.views.frame import Frame, Notice
from eventflow_console.present import Present


def page(
    request: web.Request,
    template: str,
    *,
    nav: str = "",
    notices: Sequence[Notice] = (),
    status: int = 200,
    now: datetime | None = None,
    **values: object,
) -> web.Response:
    """Return a page.

    Args:
        request: The request for it.
        template: Name of its template.
        nav: The entry of the navigation to which it belongs.
        notices: Sentences above its content.
        status: HTTP status.
        now: The time to which other times are related.
        values: The values of the template.
    """
    # A page about a refusal is also shown before the operator is known.
    frame = Frame(nav=nav, user=request.get(USER, ""), read_only=request.app[DESK].read_only, notices=notices)
    return web.Response(
        text=render(template, now=now, frame=frame, **values), status=status, content_type="text/html", charset="utf-8"
    )


def notices_of(present: Present, *problems: Problem | None) -> list[Notice]:
    """Return the notices about parts that are away.

    Args:
        present: The present state.
        problems: The reasons for which the page lacks values of the history.
    """
    return list(_notices_of(present, problems))


def _notices_of(present: Present, problems: Sequence[Problem | None]) -> Iterator[Notice]:
    broker = present.broker
    if broker.is_up is None:
        yield Notice(tone="idle", title="The console is connecting to RabbitMQ", since=broker.since)
    elif not broker.is_up:
        shown = "Queues and services are shown as they were" if present.at is not None else "Nothing is known yet"
        yield Notice(
            tone="bad",
            title="RabbitMQ is away",
            since=broker.since,
            detail=broker.reason,
            remedy=f"{shown}. The console connects again by itself.",
        )
    elif present.unasked is not None:
        yield Notice(
            tone="slow",
            title="No service could be asked",
            detail=present.unasked,
            remedy="The counts of the queues are right; the rest is unknown.",
        )
    for sentence in dict.fromkeys(each.sentence for each in problems if each is not None and each.lack != "off"):
        yield Notice(tone="slow", title=sentence)
