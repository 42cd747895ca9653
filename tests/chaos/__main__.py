"""The command behind `make chaos`: runs all scenarios in order, prints a table, and fails if an event is lost."""

import logging
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from sandbox.broker.cluster import Cluster
from sandbox.broker.node import PrivateNode
from tests.chaos import report
from tests.chaos.catalogue import HANDLER_MUTANTS, HANDLER_SCENARIOS, MUTANTS, SCENARIOS
from tests.chaos.handlers import harness as handlers_harness
from tests.chaos.handlers.scenario import HandlerScenario
from tests.chaos.harness import run
from tests.chaos.report import AnyRun
from tests.chaos.scenario import Scenario

SEED_VARIABLE = "CHAOS_SEED"

AnyScenario = Scenario | HandlerScenario


def main(
    only: Annotated[
        list[str] | None, typer.Argument(help="Parts of names, or catalogue numbers; without any, all.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(envvar=SEED_VARIABLE, help="Seed of the random choices, to repeat a run.")
    ] = None,
    write_report: Annotated[bool, typer.Option("--report", help="Write the rows to docs/reliability.md.")] = False,
) -> None:
    """Kill, disconnect and block every part under load, and check that no event is lost."""
    logging.getLogger("aiohttp.server").disabled = True  # the target breaks connections, and its server would log each
    seed = random.randrange(1_000_000) if seed is None else seed
    print(f"seed {seed} ({SEED_VARIABLE}={seed} repeats it)", flush=True)
    every: Sequence[AnyScenario] = (*SCENARIOS, *HANDLER_SCENARIOS, *MUTANTS, *HANDLER_MUTANTS)
    runs = _run_all([scenario for scenario in every if _is_chosen(scenario, only)], seed)
    print(f"\n{report.section(runs)}")
    if write_report:
        report.write(runs)
    sys.exit(0 if all(done.passed for done in runs) else 1)


def _is_chosen(scenario: AnyScenario, only: Sequence[str] | None) -> bool:
    return not only or any(word in scenario.entry.split() or word in scenario.name for word in only)


def _run_all(scenarios: Sequence[AnyScenario], seed: int) -> list[AnyRun]:
    """Run scenarios: first those with one node, then those with a cluster."""
    runs: list[AnyRun] = []
    for nodes in (1, 3):
        group = [scenario for scenario in scenarios if scenario.nodes == nodes]
        if not group:
            continue
        with _broker(nodes) as broker:
            for scenario in group:
                done = uvloop.run(_run(scenario, broker, seed))
                print(report.line(done), *done.problems, sep="\n  ", flush=True)
                runs.append(done)
    return runs


async def _run(scenario: AnyScenario, broker: PrivateNode | Cluster, seed: int) -> AnyRun:
    if isinstance(scenario, Scenario):
        return await run(scenario, broker, seed=seed)
    assert isinstance(broker, PrivateNode)
    return await handlers_harness.run(scenario, broker, seed=seed)


@contextmanager
def _broker(nodes: int) -> Iterator[PrivateNode | Cluster]:
    with (
        tempfile.TemporaryDirectory(prefix="eventflow-chaos-", ignore_cleanup_errors=True) as directory,
        PrivateNode(Path(directory)) if nodes == 1 else Cluster(Path(directory), size=nodes) as broker,
    ):
        yield broker


if __name__ == "__main__":
    typer.run(main)
