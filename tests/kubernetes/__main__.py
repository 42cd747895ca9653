"""The command behind `make test-kubernetes`: disturbs an installation under load, and accounts for every event."""

import asyncio
import secrets
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated

import typer
import uvloop

from eventflow.errors import EventFlowError
from tests.availability import report
from tests.availability.connection import Address
from tests.availability.harness import run
from tests.availability.result import Run
from tests.availability.target import AuditingTarget
from tests.availability.terminal import cancel_at_signals, show
from tests.kubernetes.balancer import Balancer
from tests.kubernetes.case import Case
from tests.kubernetes.catalogue import CASES
from tests.kubernetes.commands import CommandError
from tests.kubernetes.installation import Installation
from tests.kubernetes.surroundings import Surroundings

COMMAND = "make test-kubernetes"
CASE_WITHIN_S = 1200.0


def main(
    only: Annotated[list[str] | None, typer.Argument(help="Parts of names of scenarios; without any, all.")] = None,
    write_report: Annotated[bool, typer.Option("--report", help="Write the table to docs/availability.md.")] = False,
) -> None:
    """Disturb an installation on the cluster of KUBECONFIG under load, and count lost and refused events."""
    chosen = [case for case in CASES if _is_chosen(case, only)]
    try:
        runs, problems = uvloop.run(_run_all(chosen, writes=write_report))
    except EventFlowError as error:
        sys.exit(str(error))
    except asyncio.CancelledError:
        sys.exit("interrupted")
    print("\n".join(["", *map(report.line, runs), *problems]))
    sys.exit(0 if runs and not problems and all(done.holds for done in runs) else 1)


def _is_chosen(case: Case, only: Sequence[str] | None) -> bool:
    return not only or any(word in case.scenario.name for word in only)


async def _run_all(cases: Sequence[Case], *, writes: bool) -> tuple[list[Run], list[str]]:
    """Return the runs, and the problems of scenarios that could not be prepared or ended too late."""
    cancel_at_signals()
    surroundings = await Surroundings.find()
    possible = []
    for case in cases:
        if missing := case.missing(surroundings):
            print(f"skipped: {case.scenario.name}: it needs {missing}", flush=True)
        else:
            possible.append(case)
    if not possible:
        return [], []
    runs: list[Run] = []
    problems: list[str] = []
    async with AsyncExitStack() as stack:
        target = await stack.enter_async_context(AuditingTarget(surroundings.own_address))
        namespace = f"event-flow-test-{secrets.token_hex(3)}"
        installation = Installation(surroundings, namespace, target_url=target.url)
        show(f"installing RabbitMQ and Event Flow on {surroundings.name}, in the namespace {namespace}")
        await stack.enter_async_context(installation.open())
        node_port, check_port = await installation.balanced_ports()
        balancer = Balancer(surroundings.balancer_image, surroundings.nodes, node_port=node_port, check_port=check_port)
        await stack.enter_async_context(balancer)
        for case in possible:
            installation.address = Address.of(balancer.url(keeps_connections=case.keeps_connections))
            try:
                async with _usual_afterwards(installation):
                    runs.append(await run(case.scenario, installation, target))
                    print(report.line(runs[-1]), flush=True)
                    if writes:
                        report.write(runs[-1:], command=COMMAND, order=[each.scenario.name for each in CASES])
            except (CommandError, TimeoutError) as error:
                problems.append(f"{case.scenario.name}: {error or 'it took too long'}")
                print(f"FAIL {problems[-1]}", flush=True)
    return runs, problems


@asynccontextmanager
async def _usual_afterwards(installation: Installation) -> AsyncIterator[None]:
    """Bound the time of a scenario, and bring back the usual installation after it."""
    async with asyncio.timeout(CASE_WITHIN_S):
        yield
        await installation.install()


if __name__ == "__main__":
    typer.run(main)
