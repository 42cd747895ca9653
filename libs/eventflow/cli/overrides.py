"""`eventflow rate`, `pause` and `resume`: what an operator may change while a flow runs."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from eventflow.amqp.queues import depth_of
from eventflow.amqp.streams import last_of_stream
from eventflow.cli.console import err, out, table
from eventflow.cli.options import ConfigOption, FlowArgument, flows_of, settings_of
from eventflow.cli.session import Link, connected, publishing
from eventflow.control.overrides import (
    RATE_MAX_PER_S,
    RATE_MIN_PER_S,
    InvalidOverridesError,
    Overrides,
    decode_overrides,
    encode_overrides,
)
from eventflow.message import Message, new_message_id
from eventflow.settings.root import Settings
from eventflow.settings.target import TargetSettings
from eventflow.topology import Lane, lane_queue, overrides_queue, overrides_spec

CONFIRM_TIMEOUT_S = 10.0
AS_CONFIGURED = "configured"

app = typer.Typer(
    help="Show or change how fast a flow may go, for all of its processors and their successors.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowRate:
    """What holds for a flow; `processors` is None where the flow has no queue yet."""

    flow: str
    target: TargetSettings
    ordered: Overrides
    processors: int | None

    @property
    def limit_per_s(self) -> float | None:
        """Units per second for all processors; None is unlimited."""
        return self.target.rate_per_s if self.ordered.rate_per_s is None else self.ordered.rate_per_s


def rate_of(text: str) -> float | None:
    """Read a rate; None stands for the configured one.

    Raises:
        typer.BadParameter: It is neither.
    """
    if text == AS_CONFIGURED:
        return None
    try:
        rate_per_s = float(text)
    except ValueError:
        rate_per_s = 0.0
    if not RATE_MIN_PER_S <= rate_per_s <= RATE_MAX_PER_S:
        raise typer.BadParameter(
            f"{text!r}: {RATE_MIN_PER_S:f} to {RATE_MAX_PER_S} units per second are expected, or `{AS_CONFIGURED}`; "
            "`eventflow pause` stops a flow",
            param_hint="R",
        )
    return rate_per_s


@app.command("show")
def show(
    context: typer.Context,
    flow: Annotated[str | None, typer.Argument(metavar="FLOW", help="One flow only; by default all.")] = None,
    config: ConfigOption = None,
) -> None:
    """Show the rate of a flow: as configured, as ordered, and each processor's part.

    What the target itself asks for is not in it: see eventflow_rate_limit_units_per_second of a processor.
    """
    settings = settings_of(context, config)
    rates = asyncio.run(_rates(settings, flows_of(settings, flow)))
    shown = table("flow", "configured", "ordered", "cost", "processors", "each", "", numbers=("cost", "processors"))
    for rate in rates:
        limit_per_s, processors = rate.limit_per_s, rate.processors
        shown.add_row(
            rate.flow,
            _per_s(rate.target.rate_per_s),
            "-" if rate.ordered.rate_per_s is None else _per_s(rate.ordered.rate_per_s),
            f"{rate.target.cost:g}",
            "-" if processors is None else str(processors),
            _per_s(limit_per_s / processors) if limit_per_s is not None and processors else "-",
            "paused" if rate.ordered.is_paused else "",
        )
    out.print(shown)


@app.command("set")
def set_rate(
    context: typer.Context,
    flow: FlowArgument,
    rate: Annotated[
        str, typer.Argument(metavar="R", help=f"Units per second for all processors, or `{AS_CONFIGURED}`.")
    ],
    config: ConfigOption = None,
) -> None:
    """Set the rate of a flow in place of the configured one. A lower one holds at once, a higher one after 4 s.

    It is kept in the broker, so it holds for processors that start later too, until the next `set`.
    """
    rate_per_s = rate_of(rate)
    _change(context, config, flow, lambda current: replace(current, rate_per_s=rate_per_s))


def pause(context: typer.Context, flow: FlowArgument, config: ConfigOption = None) -> None:
    """Stop sending to a flow's target until `resume`. Events are still accepted, and wait."""
    _change(context, config, flow, lambda current: replace(current, is_paused=True))


def resume(context: typer.Context, flow: FlowArgument, config: ConfigOption = None) -> None:
    """Go on sending after `pause`."""
    _change(context, config, flow, lambda current: replace(current, is_paused=False))


def _change(context: typer.Context, config: ConfigOption, flow: str, changed: Callable[[Overrides], Overrides]) -> None:
    settings = settings_of(context, config)
    (name,) = flows_of(settings, flow)
    ordered = asyncio.run(_order(settings, name, changed))
    rate = FlowRate(flow=name, target=settings.all_flows[name].target, ordered=ordered, processors=None)
    out.print(f"flow {name}: {'paused, ' if ordered.is_paused else ''}{_per_s(rate.limit_per_s)}")


async def _order(settings: Settings, flow: str, changed: Callable[[Overrides], Overrides]) -> Overrides:
    async with (
        publishing(settings.broker.urls, [overrides_spec(flow)]) as publisher,
        connected(settings.broker.urls) as link,
    ):
        ordered = changed(await _ordered_or_none(link, flow))
        message = Message(
            body=encode_overrides(ordered), headers={}, content_type="application/json", message_id=new_message_id()
        )
        await publisher.publish(message, queue=overrides_queue(flow)).confirmed(timeout_s=CONFIRM_TIMEOUT_S)
        return ordered


async def _rates(settings: Settings, flows: tuple[str, ...]) -> list[FlowRate]:
    async with connected(settings.broker.urls) as link:
        return [await _rate(link, flow, settings.all_flows[flow].target) for flow in flows]


async def _rate(link: Link, flow: str, target: TargetSettings) -> FlowRate:
    depth = await depth_of(link.connection, lane_queue(flow, Lane.LIVE))
    return FlowRate(
        flow=flow,
        target=target,
        ordered=await _ordered(link, flow),
        processors=depth.consumers if depth else None,
    )


async def _ordered(link: Link, flow: str) -> Overrides:
    body = await last_of_stream(link.connection, overrides_queue(flow))
    return Overrides() if body is None else decode_overrides(body)


async def _ordered_or_none(link: Link, flow: str) -> Overrides:
    """Return what is ordered; nonsense in the stream counts as nothing, so that an order can take its place."""
    try:
        return await _ordered(link, flow)
    except InvalidOverridesError as error:
        err.print(f"warning: {error}; it is replaced", style="yellow", soft_wrap=True)
        return Overrides()


def _per_s(units: float | None) -> str:
    return "unlimited" if units is None else f"{units:g}/s"
