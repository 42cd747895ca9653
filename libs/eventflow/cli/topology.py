"""`eventflow topology`: declare all queues, and show their arguments."""

import asyncio
from collections.abc import Sequence

import typer

from eventflow.amqp.queues import declare_queues
from eventflow.cli.console import out, print_json, table
from eventflow.cli.options import ConfigOption, DryRunOption, FlowOption, JsonOption, flows_of, settings_of
from eventflow.operations.session import connected
from eventflow.settings.root import Settings
from eventflow.topology import QueueSpec, flow_specs, overrides_spec

UNVERIFIED = "exists; arguments not verified: this user may not declare"


def topology(
    context: typer.Context,
    flow: FlowOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Declare the queues of all flows, and show their arguments.

    The services do the same at their start.
    """
    settings = settings_of(context, config)
    specs = specs_of(settings, flows_of(settings, flow))
    unverified = () if dry_run else asyncio.run(_declare(settings, specs))
    declared = "would be declared" if dry_run else "declared"
    states = {spec.name: UNVERIFIED if spec.name in unverified else declared for spec in specs}
    if as_json:
        print_json(
            {"queues": [{"name": s.name, "arguments": dict(s.arguments), "state": states[s.name]} for s in specs]}
        )
        return
    shown = table("queue", "arguments", "")
    for spec in specs:
        shown.add_row(spec.name, arguments_of(spec), states[spec.name])
    out.print(shown)


def specs_of(settings: Settings, flows: Sequence[str]) -> list[QueueSpec]:
    """Return the queues of the flows, each after the queues that it dead-letters to."""
    return [
        spec
        for name in flows
        for spec in (*flow_specs(name, settings.all_flows[name].target.retry_delays_s), overrides_spec(name))
    ]


def arguments_of(spec: QueueSpec) -> str:
    """Return the arguments of a queue, one on each line."""
    return "\n".join(f"{name}={value}" for name, value in spec.arguments.items())


async def _declare(settings: Settings, specs: Sequence[QueueSpec]) -> tuple[str, ...]:
    async with connected(settings.broker.urls) as link:
        return await declare_queues(link.connection, specs)
