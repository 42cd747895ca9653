"""`eventflow status`: the number of events in each queue, once or every second."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

import typer
from rich.live import Live
from rich.text import Text

from eventflow.cli.console import out
from eventflow.cli.options import ConfigOption, FlowOption, JsonOption, flows_of, settings_of
from eventflow.cli.retry_queues import leftovers
from eventflow.cli.session import connected
from eventflow.cli.status.display import document_of, shown_of
from eventflow.cli.status.flow import FlowStatus, statuses
from eventflow.cli.status.spool import in_words, spool_status
from eventflow.errors import BrokerUnavailableError
from eventflow.event import format_time, utc_now
from eventflow.settings.root import Settings

REFRESH_S = 1.0


def status(
    context: typer.Context,
    flow: FlowOption = None,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh every second until Ctrl-C.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show the number of events in each queue.

    live: not attempted yet. due: retries after their delay. replay: dead letters that are sent again. waiting: retries
    before the end of their delay. dead: given up. Events that a processor holds are not counted. processors: those that
    consume now. ETA: estimated time until live, due and replay are empty. "-" is a queue that does not exist.

    The spool is the collector's own buffer while the broker is away. The command reads the spool and the ETA from the
    admin ports of collector and processor. The ETA is "-" if no processor can be reached. In JSON, "drain" is the ETA;
    its "eta_s" is null if the backlog does not shrink.
    """
    if watch and as_json:
        raise typer.BadParameter("not together with --json", param_hint="--watch")
    settings = settings_of(context, config)
    flows = flows_of(settings, flow)
    if watch:
        with suppress(KeyboardInterrupt):
            asyncio.run(_watch(settings, flows))
        return
    spool = asyncio.run(spool_status(settings.collector))
    if spool is not None and not as_json:
        out.print(in_words(spool))  # first: it holds events just when the broker cannot be asked for the rest
    found = asyncio.run(_once(settings, flows))
    if as_json:
        out.print(json.dumps(document_of(found, spool, at=format_time(utc_now())), indent=2), soft_wrap=True)
    else:
        out.print(shown_of(found))


async def _once(settings: Settings, flows: Sequence[str]) -> list[FlowStatus]:
    async with connected(settings.broker.urls) as link:
        return await statuses(link, settings, flows, await leftovers(link, settings))


async def _watch(settings: Settings, flows: Sequence[str]) -> None:
    """Show the status every second. Wait for a broker that goes away; fail if there is none at the start."""
    async with connected(settings.broker.urls) as link:
        old = await leftovers(link, settings)  # only once: each check for a missing queue writes to the broker's log
        first = shown_of(await statuses(link, settings, flows, old))
    with Live(first, console=out, auto_refresh=False) as live:
        while True:
            try:
                async with connected(settings.broker.urls) as link:
                    while True:
                        live.update(shown_of(await statuses(link, settings, flows, old)), refresh=True)
                        await asyncio.sleep(REFRESH_S)
            except BrokerUnavailableError as error:
                live.update(Text(f"{error}; trying again", style="red"), refresh=True)
            await asyncio.sleep(REFRESH_S)
