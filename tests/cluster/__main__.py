"""The command behind `make test-cluster`: runs scenarios on deploy/cluster, and fails if one misses its goal."""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from tests.availability import harness, report
from tests.availability.result import Run
from tests.availability.scenario import Scenario
from tests.availability.terminal import cancel_at_signals, show
from tests.cluster.catalogue import SCENARIOS
from tests.cluster.stack import BASE_IMAGES, IMAGE, ComposeCluster, build_image, running_cluster
from tests.support.compose import ROOT, missing_means

COMMAND = "make test-cluster"


def main(
    only: Annotated[list[str] | None, typer.Argument(help="Parts of names of scenarios; without any, all.")] = None,
    write_report: Annotated[bool, typer.Option("--report", help="Write the table to docs/availability.md.")] = False,
    logs: Annotated[Path | None, typer.Option(help="Directory for the logs of the containers.")] = None,
    image: Annotated[str, typer.Option(help="Image of the services, in place of one built from this tree.")] = "",
) -> None:
    """Restart, cut off, upgrade and destroy parts of a cluster under load; no event may be lost or refused."""
    chosen = {
        rabbitmq: [scenario for scenario in scenarios if _is_chosen(scenario, only)]
        for rabbitmq, scenarios in SCENARIOS.items()
    }
    if not any(chosen.values()):
        raise typer.BadParameter(f"no scenario has a part of {only} in its name")
    missing = missing_means((*BASE_IMAGES, *(rabbitmq for rabbitmq, scenarios in chosen.items() if scenarios)))
    if missing is not None:
        sys.exit(missing)
    if not image:
        show(f"building {IMAGE}")
        build_image(ROOT, IMAGE)
    try:
        runs = uvloop.run(_run_all(chosen, image=image or IMAGE, logs=logs, writes=write_report))
    except asyncio.CancelledError:
        sys.exit("interrupted")
    print(*map(report.line, runs), sep="\n", flush=True)
    sys.exit(0 if all(run.holds for run in runs) else 1)


def _is_chosen(scenario: Scenario[ComposeCluster], only: Sequence[str] | None) -> bool:
    return not only or any(part in scenario.name for part in only)


async def _run_all(
    chosen: Mapping[str, Sequence[Scenario[ComposeCluster]]], *, image: str, logs: Path | None, writes: bool
) -> list[Run]:
    cancel_at_signals()
    order = [scenario.name for scenarios in SCENARIOS.values() for scenario in scenarios]
    runs = []
    for rabbitmq, scenarios in chosen.items():
        if not scenarios:
            continue
        show(f"starting a cluster with {rabbitmq}")
        async with running_cluster(image=image, rabbitmq=rabbitmq, logs=logs) as cluster:
            for scenario in scenarios:
                runs.append(await harness.run(scenario, cluster, cluster.target))
                show(report.line(runs[-1]))
                if writes:
                    report.write(runs[-1:], command=COMMAND, order=order)
    return runs


if __name__ == "__main__":
    os.environ.setdefault("DOCKER_BUILDKIT", "0")
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(main)
    app()
