"""deploy/cluster in a Docker engine, as an operator starts it."""

import asyncio
import contextlib
import itertools
import json
import os
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from eventflow.settings.target import TargetSettings
from eventflow.topology import Lane, dead_queue, lane_queue, retry_queue
from sandbox.ports import LOOPBACK, free_port
from tests.availability.connection import Address
from tests.availability.scenario import QUOTA_PER_S, Leftovers
from tests.availability.target import AuditingTarget
from tests.chaos.world import ids_in
from tests.support.amqp import Amqp
from tests.support.compose import BUILD_S, USER_OF_THE_HISTORY, Project, copy_sources
from tests.support.wait import eventually

NODES = ("rabbitmq-1", "rabbitmq-2", "rabbitmq-3")
COLLECTORS = ("collector-1", "collector-2")
PROCESSORS = ("processor-1", "processor-2")
OURS = (*COLLECTORS, *PROCESSORS, "console", "eventflow")
FLOW = "default"
IMAGE = "event-flow-cluster-test"
BASE_IMAGES = ("python:3.13-slim", "haproxy:3.0", "postgres:17")
ADMIN_PORTS = {"collector": 9464, "processor": 9465}

BROKER_PATH = "/opt/rabbitmq/sbin:/opt/erlang/bin:/usr/lib/rabbitmq/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Places of RabbitMQ's programs, in the published image or in Debian's package. Debian's wrappers in /usr/sbin, which
would write the log into a file, come later."""

_projects = itertools.count(1)


def build_image(sources: Path, image: str) -> None:
    """Build the image of a source tree."""
    # The legacy builder and the network of the machine, because a private package index may be reachable only so.
    command = (
        "docker build --quiet --network host --file deploy/Dockerfile --build-arg PIP_INDEX_URL "
        f"--build-arg PIP_EXTRA_INDEX_URL --tag {image} ."
    )
    Project(directory=sources, environment={}).sh(command, within_s=BUILD_S)


@dataclass(slots=True, kw_only=True)
class ComposeCluster:
    """A running cluster.

    Attributes:
        name: Its kind, for the table.
        project: Its project of Compose. Commands of deploy/cluster/README.md work in its directory.
        address: The front, HAProxy.
        target: The target of all its events.
        image: Image of the services.
        successors: Clusters that a scenario has started beside this one, and that are removed with it.
    """

    name: str
    project: Project
    address: Address
    api_key: str
    target: AuditingTarget
    image: str
    successors: "list[ComposeCluster]" = field(default_factory=list)

    async def sh(self, script: str, *, within_s: float = 180.0) -> str:
        """Run commands as an operator would type them; they must succeed."""
        return await asyncio.to_thread(self.project.sh, script, within_s=within_s)

    async def stop_and_start(self, service: str) -> None:
        """Restart a container as docs/availability.md describes."""
        await self.sh(f"docker compose stop {service} && docker compose start {service}")

    async def is_ready(self, service: str) -> None:
        """Wait until `/readyz` of a collector or processor is 200."""
        url = f"http://{await self.ip(service)}:{ADMIN_PORTS[service.partition('-')[0]]}/readyz"

        async def answers() -> bool:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with (
                    aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http,
                    http.get(url) as answer,
                ):
                    return answer.status == 200
            return False

        await eventually(answers, within_s=120, what=f"{service} to be ready")

    async def drain(self, node: str) -> None:
        """Prepare a node of RabbitMQ for its stop.

        Wait until every quorum queue with a replica there has one more than its majority needs. Then move the leaders
        and the connections to other nodes.
        """
        upgrade = f"docker compose exec -T {node} rabbitmq-upgrade --timeout 120"
        await self.sh(f"{upgrade} await_online_quorum_plus_one && {upgrade} drain")

    async def inspect(self, service: str) -> Mapping[str, Any]:
        """Return Docker's description of a container."""
        shown = await self.sh(f"docker inspect $(docker compose ps --all --quiet {service})")
        found: Mapping[str, Any] = json.loads(shown)[0]
        return found

    async def ip(self, service: str) -> str:
        """Return the address of a container, which this machine can reach."""
        networks = (await self.inspect(service))["NetworkSettings"]["Networks"]
        return str(next(iter(networks.values()))["IPAddress"])

    async def amqp_url(self, node: str = NODES[0]) -> str:
        """Return the URL of a node for an operator on this machine."""
        secrets = self.project.directory / "secrets"
        password = (secrets / "operator-broker-password").read_text().strip()
        own = secrets / "tls" / "operator" / "own.pem"
        # The certificate has the name of the node and not its address.
        return (
            f"amqps://operator:{password}@{await self.ip(node)}:5671/eventflow"
            f"?certfile={own}&keyfile={own}&no_verify_ssl=1"
        )

    async def leftovers(self) -> Leftovers:
        """Look for events in the queues. An event in a spool counts as lost: all spools must be empty by then."""
        waiting = [
            *(lane_queue(FLOW, lane) for lane in Lane),
            *(retry_queue(FLOW, delay_s) for delay_s in TargetSettings().retry_delays_s),
        ]
        async with Amqp(await self.amqp_url()) as amqp:
            return Leftovers(waiting=await ids_in(amqp, waiting), dead=await ids_in(amqp, [dead_queue(FLOW)]))


@asynccontextmanager
async def running_cluster(
    *, image: str, rabbitmq: str, quota_per_s: float = QUOTA_PER_S, logs: Path | None = None
) -> AsyncIterator[ComposeCluster]:
    """Start a cluster, and remove it with its volumes at the end.

    Args:
        image: Image of the services.
        rabbitmq: Image of the brokers.
        quota_per_s: Quota of the flow.
        logs: Directory for the logs of all containers, written at the end; None for none.
    """
    with tempfile.TemporaryDirectory(prefix="event-flow-cluster-") as copied:
        prepare = partial(prepared, image=image, rabbitmq=rabbitmq, quota_per_s=quota_per_s)
        cluster = await asyncio.to_thread(prepare, Path(copied) / "first")
        try:
            await cluster.sh(f"docker compose up --detach --wait {' '.join(NODES)} postgres", within_s=300)
            await cluster.sh(USER_OF_THE_HISTORY)
            async with cluster.target:  # after the network, which makes its address
                await cluster.sh("docker compose up --detach --wait", within_s=300)
                for service in (*COLLECTORS, *PROCESSORS):
                    await cluster.is_ready(service)
                yield cluster
        finally:
            # The networks of the successors have the front of the first one.
            for each in (cluster, *cluster.successors):
                if logs is not None:
                    await asyncio.shield(asyncio.to_thread(_save_logs, each.project, logs))
                await asyncio.shield(asyncio.to_thread(each.project.remove))


def _save_logs(project: Project, logs: Path) -> None:
    logs.mkdir(parents=True, exist_ok=True)
    for service in (*NODES, *COLLECTORS, *PROCESSORS, "haproxy"):
        shown = project.attempt(f"docker compose logs --no-color --timestamps {service}").stdout
        (logs / f"{project.environment['COMPOSE_PROJECT_NAME']}-{service}.log").write_text(shown)


def prepared(directory: Path, *, image: str, rabbitmq: str, quota_per_s: float) -> ComposeCluster:
    """Copy deploy/ into a directory that does not exist yet, and make the secrets and the settings."""
    number = next(_projects)
    # Docker takes its own networks from 172.16.0.0/12 and 192.168.0.0/16.
    subnet, front_port = f"10.{201 + os.getpid() % 40}.{number}", free_port()
    environment = {
        "COMPOSE_PROJECT_NAME": f"event-flow-cluster-test-{os.getpid()}-{number}",
        "COMPOSE_FILE": "compose.yaml:test.yaml",
        "COMPOSE_PROFILES": "",
        "FRONT_ADDRESS": f"{LOOPBACK}:{front_port}",
        "CONSOLE_ADDRESS": f"{LOOPBACK}:{free_port()}",
        "MANAGEMENT_ADDRESS": f"{LOOPBACK}:{free_port()}",
    }
    directory.mkdir()
    project = Project(directory=copy_sources(directory) / "cluster", environment=environment)
    target = AuditingTarget(f"{subnet}.1")
    override = _overrides(image=image, rabbitmq=rabbitmq, subnet=subnet)
    (project.directory / "test.yaml").write_text(yaml.safe_dump(override))
    (project.directory / ".env").write_text(_settings(target.url, quota_per_s=quota_per_s))
    project.sh("../make-secrets --cluster")
    secrets = project.directory / "secrets"
    trusting = ssl.create_default_context(cafile=str(secrets / "authority" / "ca.pem"))
    return ComposeCluster(
        name=f"Compose, {rabbitmq.replace(':', ' ').removesuffix('-management').replace('rabbitmq', 'RabbitMQ')}",
        project=project,
        address=Address.of(f"https://localhost:{front_port}/events", ssl=trusting),
        api_key=(secrets / "sources" / "default").read_text().strip(),
        target=target,
        image=image,
    )


def _overrides(*, image: str, rabbitmq: str, subnet: str) -> Mapping[str, Any]:
    """Return the Compose file of the test: images that are there, and a network with known addresses."""
    broker = {"image": rabbitmq, "environment": {"PATH": BROKER_PATH}}
    return {
        "services": {**dict.fromkeys(NODES, broker), **{service: {"image": image} for service in OURS}},
        "networks": {"default": {"ipam": {"config": [{"subnet": f"{subnet}.0/24", "gateway": f"{subnet}.1"}]}}},
    }


def _settings(target_url: str, *, quota_per_s: float) -> str:
    """Return the `.env` of the test."""
    lines = (
        "EVENTFLOW_SOURCE__API_KEYS_FILE=/run/secrets/sources/default",
        "EVENTFLOW_TARGET__HEADERS_FILE=/run/secrets/targets/default",
        f"EVENTFLOW_TARGET__URL={target_url}",
        f"EVENTFLOW_TARGET__RATE_PER_S={quota_per_s:g}",
    )
    return "\n".join(lines) + "\n"
