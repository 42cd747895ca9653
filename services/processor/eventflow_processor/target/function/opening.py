"""Builds the target of a flow with a handler."""

import asyncio
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from functools import partial
from typing import cast
from urllib.parse import unquote, urlsplit

from eventflow.handling.loading import Function, load_function
from eventflow.handling.transactions.opening import Opened, open_sessions, open_url
from eventflow.handling.transactions.port import ThreadTransactions, Transactions
from eventflow.handling.transactions.statements import Limits
from eventflow.settings.handler import HandlerSettings
from eventflow.tasks import cancel_and_wait
from eventflow_processor.target.function.asynchronous import AsyncAttempt
from eventflow_processor.target.function.calls import Calls
from eventflow_processor.target.function.emission import Emissions, Publish, ThreadEmissions
from eventflow_processor.target.function.loop_watch import LoopWatch
from eventflow_processor.target.function.metrics import FunctionMetrics
from eventflow_processor.target.function.target import FunctionTarget, Make
from eventflow_processor.target.function.threaded import ThreadAttempt
from eventflow_processor.target.function.upkeep import keep_clean
from eventflow_processor.target.function.workers import Workers


async def open_function(
    handler: HandlerSettings,
    stack: AsyncExitStack,
    *,
    flow: str,
    flows: Collection[str],
    publish: Publish,
    metrics: FunctionMetrics,
    watch: LoopWatch,
    on_awaited: Callable[[bool], None],
) -> FunctionTarget:
    """Load the function of a flow, and prepare its threads and the connections to its database.

    Args:
        handler: The settings.
        stack: Its end closes all of it.
        flow: The flow.
        flows: Names of all flows.
        publish: Publishes an event, for a function without a database.
        metrics: Those of this flow.
        watch: Watches the event loop, if the function is `async`.
        on_awaited: As for `FunctionTarget`.

    Raises:
        HandlerError: The function or the database cannot be used as configured.
    """
    function = load_function(handler.call or "")
    calls = Calls(
        flow=flow,
        flows=flows,
        function=function,
        timeout_s=handler.timeout_s,
        secrets=_secrets_of(handler),
        metrics=metrics,
    )
    opened = await _opened(handler, function, application=f"eventflow-processor {flow}")
    if opened is not None:
        stack.push_async_callback(opened.database.close)
    make = (
        _make_async(calls, opened, publish, watch, stack)
        if function.is_async
        else _make_threaded(calls, opened, publish, stack, threads_max=handler.concurrency)
    )
    database = None if opened is None else opened.database
    target = FunctionTarget(make, flow=flow, database=database, on_awaited=on_awaited)
    stack.push_async_callback(target.close)
    if opened is not None:
        checking = asyncio.create_task(target.keep_checking())
        cleaning = asyncio.create_task(keep_clean(opened.database, flow=flow, days=handler.inbox_days))
        stack.push_async_callback(cancel_and_wait, checking, cleaning)
    return target


async def _opened(handler: HandlerSettings, function: Function, *, application: str) -> Opened | None:
    limits = Limits.of(handler.timeout_s)
    if handler.session is not None:
        return open_sessions(handler.session, function, limits=limits)
    if handler.database_url is not None:
        return await open_url(
            handler.database_url.get_secret_value(),
            function,
            connections_max=handler.concurrency,
            prepares=handler.prepared_statements,
            limits=limits,
            application=application,
        )
    return None


def _make_async(calls: Calls, opened: Opened | None, publish: Publish, watch: LoopWatch, stack: AsyncExitStack) -> Make:
    transactions = Emissions(publish) if opened is None else cast("Transactions", opened.transactions)
    stack.push_async_callback(transactions.close)
    stack.enter_context(watch.watching())
    return partial(AsyncAttempt, calls, transactions, watch)


def _make_threaded(
    calls: Calls, opened: Opened | None, publish: Publish, stack: AsyncExitStack, *, threads_max: int
) -> Make:
    transactions = ThreadEmissions(publish) if opened is None else cast("ThreadTransactions", opened.transactions)
    workers = Workers(threads_max=threads_max, name=f"handler {calls.flow}")
    stack.callback(transactions.close)
    stack.callback(workers.end)
    return partial(ThreadAttempt, calls, transactions, workers)


def _secrets_of(handler: HandlerSettings) -> Collection[str]:
    """Return the texts that must not be shown: the URL, and its password as it is written there and as it is."""
    if handler.database_url is None:
        return ()
    url = handler.database_url.get_secret_value()
    password = urlsplit(url).password
    return (url, *({password, unquote(password)} if password else ()))
