"""`/about`: versions, the store, the services, and the gaps of the history."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from aiohttp import web

from eventflow import __version__
from eventflow.event import utc_now
from eventflow.history.opening import shown_url
from eventflow.history.records import Gap
from eventflow.history.store import StoreReport
from eventflow_console.desk import DESK, Desk
from eventflow_console.history import Answer
from eventflow_console.pages.answers import notices_of, page
from eventflow_console.pages.words import size
from eventflow_console.present import Present

GAPS_OVER: Final = timedelta(days=7)
GAPS_MAX: Final = 50


async def about(request: web.Request) -> web.Response:
    """Show the state of the console itself."""
    desk, now = request.app[DESK], utc_now()
    present, report, found = await asyncio.gather(
        desk.state.fresh(),
        desk.history.ask("check", lambda store: store.check()),
        asyncio.gather(*(_gaps_in(desk, flow, now) for flow in desk.flows)),
    )
    return page(
        request,
        "about.html",
        nav="about",
        notices=notices_of(present, report.problem),
        facts=list(_facts_of(desk, report)),
        problems=() if report.value is None else report.value.problems,
        services=list(_services_of(present)),
        gaps=_gaps_of(found),
        gaps_problem=next((answer.problem.sentence for answer in found if answer.problem is not None), ""),
    )


def _facts_of(desk: Desk, report: Answer[StoreReport]) -> Iterator[tuple[str, str]]:
    yield "Version", __version__
    url = desk.settings.history.url
    if url is None:
        yield "History", "off"
        return
    yield "History", shown_url(url.get_secret_value())
    yield "Attempts are kept for", f"{desk.settings.history.retention_days} days"
    if (store := report.value) is not None:
        yield "Schema", f"version {store.version} of {store.expected_version}"
        yield "Size", size(store.size_bytes)
        if store.oldest is not None:
            yield "Oldest attempt", f"{store.oldest:%Y-%m-%d %H:%M} UTC"


def _services_of(present: Present) -> Iterator[tuple[str, str, str, str]]:
    """Yield kind, flow, name and state of each process that has answered."""
    for flow, state in present.flows.items():
        for processor in state.processors:
            yield "processor", flow, processor.name, _state(processor.is_ready, processor.obstacles)
        for collector in state.collectors:
            notes = [] if collector.broker in {None, "up"} else [f"broker {collector.broker}"]
            if collector.spooled:
                notes.append(f"spool {collector.spool}, {collector.spooled} events")
            yield "collector", flow, collector.name, _state(collector.is_ready, notes)


def _state(is_ready: bool | None, notes: Sequence[str]) -> str:
    word = {True: "ready", False: "not ready", None: "unknown"}[is_ready]
    return f"{word}: {'; '.join(notes)}" if notes else word


async def _gaps_in(desk: Desk, flow: str, now: datetime) -> Answer[list[Gap]]:
    return await desk.history.ask("gaps", lambda store: store.gaps(flow, since=now - GAPS_OVER, until=now))


def _gaps_of(answers: Sequence[Answer[list[Gap]]]) -> Sequence[Gap] | None:
    """Return the latest gaps of all flows; None if one of them is unknown."""
    known = [answer.value for answer in answers if answer.value is not None]
    if len(known) < len(answers):
        return None
    return sorted((gap for gaps in known for gap in gaps), key=lambda gap: gap.until, reverse=True)[:GAPS_MAX]
