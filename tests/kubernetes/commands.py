"""Other programs: kubectl, helm and docker."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from eventflow.errors import EventFlowError

COMMAND_S = 60.0


class CommandError(EventFlowError):
    """A program has failed, or has taken too long."""


async def run(
    *command: str, stdin: str | None = None, env: Mapping[str, str] | None = None, within_s: float = COMMAND_S
) -> str:
    """Run a program and return its standard output.

    Raises:
        CommandError: It failed, or it was still running after `within_s`.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=env,
        start_new_session=True,  # Ctrl-C reaches the tests only, which clean up by these programs
    )
    try:
        async with asyncio.timeout(within_s):
            output, errors = await process.communicate(None if stdin is None else stdin.encode())
    except TimeoutError as error:
        raise CommandError(f"{_shown(command)} was still running after {within_s:g} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise CommandError(f"{_shown(command)} failed: {errors.decode(errors='replace').strip()[-1000:]}")
    return output.decode()


def _shown(command: Sequence[str]) -> str:
    return " ".join(command)[:200]


class Kubectl:
    """kubectl in one namespace. The cluster is the one of `KUBECONFIG`."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    async def __call__(self, *arguments: str, stdin: str | None = None, within_s: float = COMMAND_S) -> str:
        """Run kubectl and return its standard output.

        Raises:
            CommandError: It failed, or it was still running after `within_s`.
        """
        return await run("kubectl", "--namespace", self.namespace, *arguments, stdin=stdin, within_s=within_s)

    async def get(self, *arguments: str) -> dict[str, Any]:
        """Return objects as `kubectl get` shows them."""
        found: dict[str, Any] = json.loads(await self("get", *arguments, "--output=json"))
        return found

    async def items(self, *arguments: str) -> list[dict[str, Any]]:
        """Return a list of objects."""
        items: list[dict[str, Any]] = (await self.get(*arguments))["items"]
        return items

    async def apply(self, *objects: Mapping[str, Any]) -> None:
        """Create or change objects."""
        await self("apply", "--filename=-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    async def rolled_out(self, workload: str, *, within_s: float = 300.0) -> None:
        """Wait until all pods of a workload run its newest version and are ready."""
        await self("rollout", "status", workload, f"--timeout={within_s:g}s", within_s=within_s + 10)

    async def restart(self, workload: str, *, within_s: float = 600.0) -> None:
        """Replace all pods of a workload in its own order, and wait for the end."""
        await self("rollout", "restart", workload)
        await self.rolled_out(workload, within_s=within_s)

    async def pod_metric(self, pod: str, port: int, name: str) -> float:
        """Return the sum of a metric of a pod over all its labels."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}:{port}/proxy/metrics"
        lines = (await self("get", "--raw", path)).splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))
