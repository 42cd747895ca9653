"""`eventflow rate`, `pause` and `resume`: override the settings of a flow while it runs."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from eventflow.amqp.queues import depth_of
from eventflow.amqp.streams import last_of_stream
from eventflow.cli.assembly import command, new_group
from eventflow.cli.console import err, out, print_json, table
from eventflow.cli.operator import operator
from eventflow.cli.options import (
    ConfigOption,
    FlowArgument,
    FlowOption,
    JsonOption,
    OneFlowOption,
    flows_of,
    named_flow,
    one_flow_of,
    settings_of,
)
from eventflow.cli.session import Link, connected, publishing
from eventflow.control.overrides import (
    RATE_MAX_PER_S,
    RATE_MIN_PER_S,
    InvalidOverridesError,
    Overrides,
    decode_overrides,
    encode_overrides,
)
from eventflow.event import utc_now
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

    @property
    def each_per_s(self) -> float | None:
        """The share of one processor; None if it is unlimited or if there is no processor."""
        return self.limit_per_s / self.processors if self.limit_per_s is not None and self.processors else None


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
    name: FlowArgument = None,
    flow: FlowOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show the rate of each flow.

    The columns are the configured rate, the override, and the share of each processor. A lower rate that the target
    asks for is not shown here: `eventflow status` shows it.
    """
    settings = settings_of(context, config)
    rates = asyncio.run(_rates(settings, flows_of(settings, named_flow(name, flow))))
    if as_json:
        print_json({"flows": {rate.flow: document_of(rate) for rate in rates}})
        return
    shown = table("flow", "configured", "override", "cost", "processors", "each", "", numbers=("cost", "processors"))
    for rate in rates:
        shown.add_row(
            rate.flow,
            _per_s(rate.target.rate_per_s),
            "-" if rate.overrides.rate_per_s is None else _per_s(rate.overrides.rate_per_s),
            f"{rate.target.cost:g}",
            "-" if rate.processors is None else str(rate.processors),
            "-" if rate.each_per_s is None else _per_s(rate.each_per_s),
            "paused" if rate.overrides.is_paused else "",
        )
    out.print(shown)


def document_of(rate: FlowRate) -> dict[str, Any]:
    """Return the rate of one flow for `--json`, in units per second; null is unlimited, or no override."""
    return {
        "configured_per_s": rate.target.rate_per_s,
        "override_per_s": rate.overrides.rate_per_s,
        "limit_per_s": rate.limit_per_s,
        "each_per_s": rate.each_per_s,
        "cost": rate.target.cost,
        "processors": rate.processors,
        "paused": rate.overrides.is_paused,
    }


@command(app, "set")
def set_rate(
    context: typer.Context,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[FLOW] R",
            help=f"The flow, as with --flow, and units per second for all processors together, or `{AS_CONFIGURED}`.",
        ),
    ],
    flow: OneFlowOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Override the configured rate of a flow. A lower rate takes effect at once, a higher one after 4 s.

    The broker keeps the override, so processors that start later use it too. `set FLOW configured` removes it.
    """
    *names, rate = words
    if len(names) > 1:
        raise typer.BadParameter("one flow at most and one rate are expected", param_hint="[FLOW] R")
    rate_per_s = rate_of(rate)
    name = named_flow(next(iter(names), None), flow)
    _change(context, config, name, lambda current: replace(current, rate_per_s=rate_per_s), as_json=as_json)


def pause(
    context: typer.Context,
    name: FlowArgument = None,
    flow: OneFlowOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Stop sending to the target of a flow until `resume`. Events are still accepted, and wait."""
    named = named_flow(name, flow)
    _change(context, config, named, lambda current: current.pause(at=utc_now(), by=operator()), as_json=as_json)


def resume(
    context: typer.Context,
    name: FlowArgument = None,
    flow: OneFlowOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Continue sending to the target of a flow after `pause`."""
    _change(context, config, named_flow(name, flow), lambda current: current.resume(), as_json=as_json)


def _change(
    context: typer.Context,
    config: Path | None,
    flow: str | None,
    changed: Callable[[Overrides], Overrides],
    *,
    as_json: bool,
) -> None:
    settings = settings_of(context, config)
    name = one_flow_of(settings, flow)
    overrides = asyncio.run(_override(settings, name, changed))
    rate = FlowRate(flow=name, target=settings.all_flows[name].target, overrides=overrides, processors=None)
    if as_json:
        print_json({"flow": name, "paused": overrides.is_paused, "limit_per_s": rate.limit_per_s})
    else:
        out.print(f"flow {name}: {'paused, ' if overrides.is_paused else ''}{_per_s(rate.limit_per_s)}")


async def _override(settings: Settings, flow: str, changed: Callable[[Overrides], Overrides]) -> Overrides:
    async with connected(settings.broker.urls) as link, publishing(link, [overrides_spec(flow)]) as publisher:
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
