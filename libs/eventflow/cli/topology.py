"""`eventflow topology`: declare all queues, and show their arguments."""

import asyncio
from collections.abc import Sequence

import typer

from eventflow.amqp.queues import declare_queues
from eventflow.cli.console import out, table
from eventflow.cli.options import ConfigOption, DryRunOption, settings_of
from eventflow.cli.session import connected
from eventflow.settings.root import Settings
from eventflow.topology import QueueSpec, flow_specs, overrides_spec


def topology(context: typer.Context, dry_run: DryRunOption = False, config: ConfigOption = None) -> None:
    """Declare the queues of all flows, and show their arguments.

    The services do the same at their start.
    """
    settings = settings_of(context, config)
    specs = specs_of(settings)
    unverified = () if dry_run else asyncio.run(_declare(settings, specs))
    shown = table("queue", "arguments", "")
    for spec in specs:
        state = "would be declared" if dry_run else "declared"
        shown.add_row(
            spec.name,
            arguments_of(spec),
            "exists; arguments not verified: this user may not declare" if spec.name in unverified else state,
        )
    out.print(shown)


def specs_of(settings: Settings) -> list[QueueSpec]:
    """Return the queues of all flows, each after the queues that it dead-letters to."""
    return [
        spec
        for name, flow in settings.all_flows.items()
        for spec in (*flow_specs(name, flow.target.retry_delays_s), overrides_spec(name))
    ]


def arguments_of(spec: QueueSpec) -> str:
    """Return the arguments of a queue, one on each line."""
    return "\n".join(f"{name}={value}" for name, value in spec.arguments.items())


async def _declare(settings: Settings, specs: Sequence[QueueSpec]) -> tuple[str, ...]:
    async with connected(settings.broker.urls) as link:
        return await declare_queues(link.connection, specs)
