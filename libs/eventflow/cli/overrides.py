"""`eventflow rate`, `pause` and `resume`: override the settings of a flow while it runs."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from eventflow.cli.actions import record
from eventflow.cli.assembly import command, new_group
from eventflow.cli.connection import with_link
from eventflow.cli.console import err, out, print_json, table
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
from eventflow.control.overrides import Overrides
from eventflow.errors import InvalidInputError
from eventflow.event import utc_now
from eventflow.operations.operator import operator
from eventflow.operations.overrides import FlowRate, change_overrides, read_rate, units_per_s_of
from eventflow.operations.session import Link
from eventflow.settings.root import Settings

AS_CONFIGURED = "configured"

app = new_group("Show or change the rate of a flow. The rate is shared by all processors of the flow.")


def rate_of(text: str) -> float | None:
    """Parse a rate. `configured` is None.

    Raises:
        typer.BadParameter: It is neither a rate in the accepted range nor `configured`.
    """
    try:
        return None if text == AS_CONFIGURED else units_per_s_of(text)
    except InvalidInputError as error:
        raise typer.BadParameter(
            f"{error}, or `{AS_CONFIGURED}`; use `eventflow pause` to stop a flow", param_hint="R"
        ) from None


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
    flows = flows_of(settings, named_flow(name, flow))
    rates = with_link(settings, lambda link: _rates(link, settings, flows))
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
    detail = AS_CONFIGURED if rate_per_s is None else _per_s(rate_per_s)
    _change(
        context,
        config,
        name,
        lambda current: replace(current, rate_per_s=rate_per_s),
        kind="rate",
        detail=detail,
        as_json=as_json,
    )


def pause(
    context: typer.Context,
    name: FlowArgument = None,
    flow: OneFlowOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Stop sending to the target of a flow until `resume`. Events are still accepted, and wait."""
    _change(
        context,
        config,
        named_flow(name, flow),
        lambda current: current.pause(at=utc_now(), by=operator()),
        kind="pause",
        as_json=as_json,
    )


def resume(
    context: typer.Context,
    name: FlowArgument = None,
    flow: OneFlowOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Continue sending to the target of a flow after `pause`."""
    _change(context, config, named_flow(name, flow), lambda current: current.resume(), kind="resume", as_json=as_json)


def _change(
    context: typer.Context,
    config: Path | None,
    flow: str | None,
    changed: Callable[[Overrides], Overrides],
    *,
    kind: str,
    detail: str = "",
    as_json: bool,
) -> None:
    settings = settings_of(context, config)
    name = one_flow_of(settings, flow)
    change = with_link(settings, lambda link: change_overrides(link, name, changed))
    if change.replaced is not None:
        err.print(f"warning: {change.replaced}; the new override replaces it", style="yellow", soft_wrap=True)
    overrides = change.overrides
    rate = FlowRate(flow=name, target=settings.all_flows[name].target, overrides=overrides, processors=None)
    if as_json:
        print_json({"flow": name, "paused": overrides.is_paused, "limit_per_s": rate.limit_per_s})
    else:
        out.print(f"flow {name}: {'paused, ' if overrides.is_paused else ''}{_per_s(rate.limit_per_s)}")
    record(settings, kind, flow=name, detail=detail)


async def _rates(link: Link, settings: Settings, flows: Sequence[str]) -> list[FlowRate]:
    return [await read_rate(link, flow, settings.all_flows[flow].target) for flow in flows]


def _per_s(units: float | None) -> str:
    return "unlimited" if units is None else f"{units:g}/s"
