"""Check that the function of each flow with a handler can be imported, and that its database can be used."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from eventflow.cli.check.finding import Finding, Verdict
from eventflow.database.rights import Use
from eventflow.errors import DatabaseError, HandlerError
from eventflow.handling.loading import Function, load_function
from eventflow.handling.transactions.opening import open_sessions, require_drivers
from eventflow.handling.transactions.statements import Limits
from eventflow.history.opening import shown_url
from eventflow.operations.databases import report_of
from eventflow.settings.handler import HandlerSettings
from eventflow.settings.root import Settings, variable_name

ADVICE = "docs/handlers.md"


async def check_handlers(settings: Settings, flows: Sequence[str]) -> list[Finding]:
    """Import the function of each flow that has one, as a processor here would, and look at its database.

    Args:
        settings: As a processor has them: the URL of a database is a secret.
        flows: The flows.
    """
    return [finding for flow in flows async for finding in _check(flow, settings.all_flows[flow].handler)]


async def _check(flow: str, handler: HandlerSettings) -> AsyncIterator[Finding]:
    if handler.call is None:
        return
    subject = f"handler of {flow}: {handler.call}"
    try:
        function = await asyncio.to_thread(load_function, handler.call)  # the import may take seconds
    except HandlerError as error:
        advice = f"correct {variable_name(flow, 'handler', 'call')}, or install the code of the handler here"
        yield Finding(subject=subject, verdict=Verdict.PROBLEM, found=str(error), advice=advice)
        return
    runs = "on the event loop" if function.is_async else "on threads"
    yield Finding(subject=subject, verdict=Verdict.OK, found=f"imported; it runs {runs}")
    if handler.has_database:
        yield await _check_database(flow, handler, function)


async def _check_database(flow: str, handler: HandlerSettings, function: Function) -> Finding:
    url = None if handler.database_url is None else handler.database_url.get_secret_value()
    place = handler.session if url is None else shown_url(url)
    subject = f"database of the handler of {flow}: {place}"
    try:
        problems = await (_problems_of_sessions(handler, function) if url is None else _problems_of_url(url, function))
    except (DatabaseError, HandlerError) as error:
        setting = variable_name(flow, "handler", "session" if url is None else "database_url")
        advice = f"start it, or correct {setting}; events wait for it"
        return Finding(subject=subject, verdict=Verdict.PROBLEM, found=str(error), advice=advice)
    if problems:
        return Finding(subject=subject, verdict=Verdict.PROBLEM, found="; ".join(problems), advice=ADVICE)
    return Finding(subject=subject, verdict=Verdict.OK, found="inbox and outbox are there")


async def _problems_of_url(url: str, function: Function) -> Sequence[str]:
    require_drivers(function)
    return (await report_of(url, {Use.HANDLER})).problems


async def _problems_of_sessions(handler: HandlerSettings, function: Function) -> Sequence[str]:
    opened = open_sessions(handler.session or "", function, limits=Limits.of(handler.timeout_s))
    await opened.database.require()
    return ()
