"""`eventflow status`: the state of each flow and service, once or every second."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Annotated

import typer
from rich.live import Live
from rich.text import Text

from eventflow.cli.console import out, print_json
from eventflow.cli.options import ConfigOption, FlowOption, JsonOption, flows_of, settings_of
from eventflow.cli.status.display import shown_of
from eventflow.errors import BrokerUnavailableError
from eventflow.operations.retry_queues import leftovers
from eventflow.operations.session import connected
from eventflow.operations.status.document import document_of
from eventflow.operations.status.look import Lookout, Status, looking_out
from eventflow.operations.status.spool import in_words, spool_status
from eventflow.settings.root import Settings

REFRESH_S = 1.0


def status(
    context: typer.Context,
    flow: FlowOption = None,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh every second until Ctrl-C.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show the state of each flow and of the services.

    waiting: events that are ready in a lane (live: new events; due: retries after their delay; replay: dead letters
    that are sent again), or held: delivered to a processor and not settled, in flight or before their turn. delayed:
    retries before the end of their delay. dead: given up. "-" is a queue that does not exist. ETA: estimated time until
    nothing waits, at the present rates; never while nothing is sent.

    The counts come from the broker. Processors and collectors report the rest over the broker, so this works from any
    host. A value that no service has reported is shown as unknown. In JSON it is null, and so is "eta_s" of "drain" if
    the backlog does not shrink.
    """
    if watch and as_json:
        raise typer.BadParameter("not together with --json", param_hint="--watch")
    settings = settings_of(context, config)
    flows = flows_of(settings, flow)
    if watch:
        with suppress(KeyboardInterrupt):
            asyncio.run(_watch(settings, flows))
        return
    try:
        found = asyncio.run(_once(settings, flows))
    except BrokerUnavailableError:
        if not as_json:
            asyncio.run(_show_spool(settings))
        raise
    if as_json:
        print_json(document_of(found))
    else:
        out.print(shown_of(found))


async def _once(settings: Settings, flows: Sequence[str]) -> Status:
    async with connected(settings.broker.urls) as link:
        old = await leftovers(link, settings)
        async with looking_out(link, settings, flows, old) as lookout:
            return await _look(lookout, settings)


async def _look(lookout: Lookout, settings: Settings) -> Status:
    status = await lookout.look()
    # A collector that is too old to report has metrics, which can be read on its own host.
    return status if status.spool is not None else replace(status, spool=await spool_status(settings.collector))


async def _show_spool(settings: Settings) -> None:
    """Show the spool, which holds events just when the broker cannot be asked for the rest."""
    if (spool := await spool_status(settings.collector)) is not None:
        out.print(in_words(spool))


async def _watch(settings: Settings, flows: Sequence[str]) -> None:
    """Show the status every second. Wait for a broker that goes away; fail if there is none at the start."""
    async with connected(settings.broker.urls) as link:
        old = await leftovers(link, settings)  # only once: each check for a missing queue writes to the broker's log
    with Live(console=out, auto_refresh=False) as live:
        while True:
            try:
                async with (
                    connected(settings.broker.urls) as link,
                    looking_out(link, settings, flows, old) as lookout,
                ):
                    while True:
                        next_at_s = asyncio.get_running_loop().time() + REFRESH_S
                        live.update(shown_of(await _look(lookout, settings)), refresh=True)
                        await asyncio.sleep(next_at_s - asyncio.get_running_loop().time())
            except BrokerUnavailableError as error:
                live.update(Text(f"{error}; trying again", style="red"), refresh=True)
            await asyncio.sleep(REFRESH_S)
