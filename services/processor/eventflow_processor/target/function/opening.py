"""Builds the target of a flow with a handler."""

from collections.abc import Collection
from functools import partial
from urllib.parse import unquote, urlsplit

from eventflow.errors import HandlerError
from eventflow.handling.loading import load_function
from eventflow.handling.transactions.opening import Opened, open_url
from eventflow.handling.transactions.statements import Limits
from eventflow.settings.handler import HandlerSettings
from eventflow_processor.target.function.asynchronous import AsyncAttempt
from eventflow_processor.target.function.calls import Calls
from eventflow_processor.target.function.emission import Emissions, Publish
from eventflow_processor.target.function.metrics import FunctionMetrics
from eventflow_processor.target.function.target import FunctionTarget


async def open_function(
    handler: HandlerSettings,
    *,
    flow: str,
    flows: Collection[str],
    publish: Publish,
    metrics: FunctionMetrics,
    application: str,
) -> FunctionTarget:
    """Load the function of a flow, and prepare the connections to its database.

    Args:
        handler: The settings.
        flow: The flow.
        flows: Names of all flows.
        publish: Publishes an event, for a function without a database.
        metrics: Those of this flow.
        application: Name of the connections to the database.

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
    if not function.is_async:
        raise HandlerError(f"{handler.call} is not `async`")
    opened = await _opened(handler, application=application)
    if opened is None:
        return FunctionTarget(partial(AsyncAttempt, calls, Emissions(publish)), flow=flow, database=None)
    return FunctionTarget(partial(AsyncAttempt, calls, opened.transactions), flow=flow, database=opened.database)


async def _opened(handler: HandlerSettings, *, application: str) -> Opened | None:
    limits = Limits.of(handler.timeout_s)
    if handler.database_url is not None:
        url = handler.database_url.get_secret_value()
        return await open_url(url, connections_max=handler.concurrency, limits=limits, application=application)
    return None


def _secrets_of(handler: HandlerSettings) -> Collection[str]:
    """Return the texts that must not be shown: the URL, and its password as it is written there and as it is."""
    if handler.database_url is None:
        return ()
    url = handler.database_url.get_secret_value()
    password = urlsplit(url).password
    return (url, *({password, unquote(password)} if password else ()))
