"""`eventflow status`: how much waits where, flow by flow."""

import asyncio
import json
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from eventflow.amqp.queues import QueueDepth, depth_of
from eventflow.cli.console import out, table
from eventflow.cli.eta import DrainStatus, drains_of
from eventflow.cli.eta import in_words as drain_in_words
from eventflow.cli.options import ConfigOption, FlowOption, flows_of, settings_of
from eventflow.cli.retries import Leftovers, leftovers
from eventflow.cli.scrape import samples_of
from eventflow.cli.session import Link, connected
from eventflow.cli.spool import SpoolStatus, in_words, spool_status
from eventflow.cli.troubles import troubles_of
from eventflow.errors import BrokerUnavailableError
from eventflow.event import format_time, utc_now
from eventflow.settings.root import Settings
from eventflow.topology import Lane, dead_queue, lane_queue, retry_queue

REFRESH_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryStatus:
    """A retry queue: its delay, how many wait in it (None: no such queue), and whether a setting asks for it."""

    delay_s: float
    events: int | None
    configured: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowStatus:
    """What waits in a flow; None for a queue that does not exist.

    Attributes:
        lanes: Events ready, by lane; what a processor holds is not counted.
        processors: Consumers of the live lane, one for each processor.
        drain: When the lanes will be empty; None where no processor tells.
        troubles: What a processor reports that may have deleted events.
    """

    flow: str
    lanes: dict[Lane, int | None]
    retries: tuple[RetryStatus, ...]
    dead: int | None
    processors: int | None
    drain: DrainStatus | None = None
    troubles: tuple[str, ...] = ()


def command(
    context: typer.Context,
    flow: FlowOption = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every second until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document, for programs.")] = False,
    config: ConfigOption = None,
) -> None:
    """Show how many events wait in each queue, and how many processors consume.

    live: not attempted yet; due: retries whose delay is over; replay: dead letters sent again; waiting: retries, by
    their delay; dead: given up. Events that a processor holds are not counted. "-" is a queue that does not exist.
    The spool is the collector's own buffer while the broker is away; it is asked on its admin port, as the processor is
    for when the lanes will be empty: "-" where none answers there. "drain" in JSON has null for never.
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
        out.print(in_words(spool))  # first: it has events just when the broker cannot be asked for the rest
    statuses = asyncio.run(_once(settings, flows))
    if as_json:
        out.print(json.dumps(document_of(statuses, spool, at=format_time(utc_now())), indent=2), soft_wrap=True)
    else:
        out.print(shown_of(statuses))


def shown_of(statuses: Sequence[FlowStatus]) -> Group:
    """Return the statuses for people: a table, and below it what may have deleted events."""
    troubles = [f"flow {status.flow}: {trouble}" for status in statuses for trouble in status.troubles]
    return Group(table_of(statuses), *(Text(trouble, style="bold red") for trouble in troubles))


def document_of(statuses: Sequence[FlowStatus], spool: SpoolStatus | None, *, at: str) -> dict[str, Any]:
    """Return the document of `--json`: counts of events, null for a queue or a spool that does not exist."""
    return {
        "at": at,
        "spool": None if spool is None else asdict(spool),
        "troubles": [f"flow {status.flow}: {trouble}" for status in statuses for trouble in status.troubles],
        "flows": {
            status.flow: {
                "backlog": {
                    "live": status.lanes[Lane.LIVE],
                    "due": status.lanes[Lane.DUE],
                    "replay": status.lanes[Lane.REPLAY],
                },
                "retries": [
                    {"delay_s": retry.delay_s, "events": retry.events, "configured": retry.configured}
                    for retry in status.retries
                ],
                "dead": status.dead,
                "processors": status.processors,
                "drain": None if status.drain is None else _drain_document(status.drain),
            }
            for status in statuses
        },
    }


def table_of(statuses: Sequence[FlowStatus]) -> Table:
    """Return the statuses as a table for people."""
    numbers = ("live", "due", "replay", "dead", "processors")
    shown = table("flow", "live", "due", "replay", "waiting", "dead", "processors", "drain", numbers=numbers)
    for status in statuses:
        shown.add_row(
            status.flow,
            *(_count(status.lanes[lane]) for lane in (Lane.LIVE, Lane.DUE, Lane.REPLAY)),
            waiting(status.retries),
            Text(_count(status.dead), style="red" if status.dead else ""),
            Text(_count(status.processors), style="" if status.processors else "yellow"),
            drain_in_words(status.drain),
        )
    return shown


def waiting(retries: Sequence[RetryStatus]) -> str:
    """Say how many events wait for how long: `3 in 1 s, 2 in 30 s (old)`; old is a delay that no setting names."""
    parts = [
        f"{retry.events} in {retry.delay_s:g} s{'' if retry.configured else ' (old)'}"
        for retry in retries
        if retry.events or (retry.events is not None and not retry.configured)
    ]
    return ", ".join(parts) or "0"


def _drain_document(drain: DrainStatus) -> dict[str, Any]:
    return {**asdict(drain), "eta_s": None if math.isinf(drain.eta_s) else drain.eta_s}  # JSON has no infinity


async def _once(settings: Settings, flows: Sequence[str]) -> list[FlowStatus]:
    async with connected(settings.broker.urls) as link:
        return await _statuses(link, settings, flows, await leftovers(link, settings))


async def _watch(settings: Settings, flows: Sequence[str]) -> None:
    """Show the status every second; a broker that goes away is waited for, one that was never there is an error."""
    async with connected(settings.broker.urls) as link:
        old = await leftovers(link, settings)  # once: looking for missing queues fills the broker's log
        first = shown_of(await _statuses(link, settings, flows, old))
    with Live(first, console=out, auto_refresh=False) as live:
        while True:
            try:
                async with connected(settings.broker.urls) as link:
                    while True:
                        live.update(shown_of(await _statuses(link, settings, flows, old)), refresh=True)
                        await asyncio.sleep(REFRESH_S)
            except BrokerUnavailableError as error:
                live.update(Text(f"{error}; trying again", style="red"), refresh=True)
            await asyncio.sleep(REFRESH_S)


async def _statuses(link: Link, settings: Settings, flows: Sequence[str], old: Leftovers) -> list[FlowStatus]:
    samples = await samples_of(settings.processor.admin_host, settings.processor.admin_port) or []
    drains, troubles = drains_of(samples), troubles_of(samples)
    return [
        replace(
            await _status(link, flow, settings.all_flows[flow].target.retry_delays_s, old.delays_s.get(flow, ())),
            drain=drains.get(flow),
            troubles=troubles.get(flow, ()),
        )
        for flow in flows
    ]


async def _status(link: Link, flow: str, delays_s: Sequence[float], old_s: Sequence[float]) -> FlowStatus:
    async def depth(queue: str) -> QueueDepth | None:
        return await depth_of(link.connection, queue)

    lanes = {lane: await depth(lane_queue(flow, lane)) for lane in Lane}
    live = lanes[Lane.LIVE]
    retries = [
        RetryStatus(
            delay_s=delay_s,
            events=_ready(await depth(retry_queue(flow, delay_s))),
            configured=delay_s in delays_s,
        )
        for delay_s in sorted({*delays_s, *old_s})
    ]
    return FlowStatus(
        flow=flow,
        lanes={lane: _ready(depth) for lane, depth in lanes.items()},
        retries=tuple(retries),
        dead=_ready(await depth(dead_queue(flow))),
        processors=live.consumers if live else None,
    )


def _ready(depth: QueueDepth | None) -> int | None:
    return depth.messages if depth else None


def _count(events: int | None) -> str:
    return "-" if events is None else str(events)
