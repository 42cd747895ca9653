"""`eventflow rate`, `pause` and `resume`: override the settings of a flow while it runs."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from eventflow.amqp.queues import depth_of
from eventflow.amqp.streams import last_of_stream
from eventflow.cli.assembly import command, new_group
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

app = new_group("Show or change the rate of a flow. The rate is shared by all processors of the flow.")


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowRate:
    """The rate of a flow; `processors` is None if the flow has no queue yet."""

    flow: str
    target: TargetSettings
    overrides: Overrides
    processors: int | None

    @property
    def limit_per_s(self) -> float | None:
        """The rate in force, in units per second for all processors together; None is unlimited."""
        return self.target.rate_per_s if self.overrides.rate_per_s is None else self.overrides.rate_per_s


def rate_of(text: str) -> float | None:
    """Parse a rate. `configured` is None.

    Raises:
        typer.BadParameter: It is neither a rate in the accepted range nor `configured`.
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
            "use `eventflow pause` to stop a flow",
            param_hint="R",
        )
    return rate_per_s


@command(app, "show")
def show(
    context: typer.Context,
    flow: Annotated[str | None, typer.Argument(metavar="FLOW", help="One flow only; if not given, all.")] = None,
    config: ConfigOption = None,
) -> None:
    """Show the rate of each flow.

    The columns are the configured rate, the override, and the share of each processor. A lower rate that the target
    asks for is not shown here. See the metric eventflow_rate_limit_units_per_second.
    """
    settings = settings_of(context, config)
    rates = asyncio.run(_rates(settings, flows_of(settings, flow)))
    shown = table("flow", "configured", "override", "cost", "processors", "each", "", numbers=("cost", "processors"))
    for rate in rates:
        limit_per_s, processors = rate.limit_per_s, rate.processors
        shown.add_row(
            rate.flow,
            _per_s(rate.target.rate_per_s),
            "-" if rate.overrides.rate_per_s is None else _per_s(rate.overrides.rate_per_s),
            f"{rate.target.cost:g}",
            "-" if processors is None else str(processors),
            _per_s(limit_per_s / processors) if limit_per_s is not None and processors else "-",
            "paused" if rate.overrides.is_paused else "",
        )
    out.print(shown)


@command(app, "set")
def set_rate(
    context: typer.Context,
    flow: FlowArgument,
    rate: Annotated[
        str, typer.Argument(metavar="R", help=f"Units per second for all processors together, or `{AS_CONFIGURED}`.")
    ],
    config: ConfigOption = None,
) -> None:
    """Override the configured rate of a flow. A lower rate takes effect at once, a higher one after 4 s.

    The broker keeps the override, so processors that start later use it too. `set FLOW configured` removes it.
    """
    rate_per_s = rate_of(rate)
    _change(context, config, flow, lambda current: replace(current, rate_per_s=rate_per_s))


def pause(context: typer.Context, flow: FlowArgument, config: ConfigOption = None) -> None:
    """Stop sending to the target of a flow until `resume`. Events are still accepted, and wait."""
    _change(context, config, flow, lambda current: replace(current, is_paused=True))


def resume(context: typer.Context, flow: FlowArgument, config: ConfigOption = None) -> None:
    """Continue sending to the target of a flow after `pause`."""
    _change(context, config, flow, lambda current: replace(current, is_paused=False))


def _change(context: typer.Context, config: ConfigOption, flow: str, changed: Callable[[Overrides], Overrides]) -> None:
    settings = settings_of(context, config)
    (name,) = flows_of(settings, flow)
    overrides = asyncio.run(_override(settings, name, changed))
    rate = FlowRate(flow=name, target=settings.all_flows[name].target, overrides=overrides, processors=None)
    out.print(f"flow {name}: {'paused, ' if overrides.is_paused else ''}{_per_s(rate.limit_per_s)}")


async def _override(settings: Settings, flow: str, changed: Callable[[Overrides], Overrides]) -> Overrides:
    async with (
        publishing(settings.broker.urls, [overrides_spec(flow)]) as publisher,
        connected(settings.broker.urls) as link,
    ):
        overrides = changed(await _readable_overrides(link, flow))
        message = Message(
            body=encode_overrides(overrides), headers={}, content_type="application/json", message_id=new_message_id()
        )
        await publisher.publish(message, queue=overrides_queue(flow)).confirmed(timeout_s=CONFIRM_TIMEOUT_S)
        return overrides


async def _rates(settings: Settings, flows: tuple[str, ...]) -> list[FlowRate]:
    async with connected(settings.broker.urls) as link:
        return [await _rate(link, flow, settings.all_flows[flow].target) for flow in flows]


async def _rate(link: Link, flow: str, target: TargetSettings) -> FlowRate:
    depth = await depth_of(link.connection, lane_queue(flow, Lane.LIVE))
    return FlowRate(
        flow=flow,
        target=target,
        overrides=await _overrides(link, flow),
        processors=depth.consumers if depth else None,
    )


async def _overrides(link: Link, flow: str) -> Overrides:
    body = await last_of_stream(link.connection, overrides_queue(flow))
    return Overrides() if body is None else decode_overrides(body)


async def _readable_overrides(link: Link, flow: str) -> Overrides:
    """Return the overrides. An unreadable message in the stream counts as none, so that a new one can replace it."""
    try:
        return await _overrides(link, flow)
    except InvalidOverridesError as error:
        err.print(f"warning: {error}; the new override replaces it", style="yellow", soft_wrap=True)
        return Overrides()


def _per_s(units: float | None) -> str:
    return "unlimited" if units is None else f"{units:g}/s"
