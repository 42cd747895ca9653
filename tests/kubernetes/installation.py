"""RabbitMQ and Event Flow in a namespace of their own."""

import asyncio
import base64
import json
import re
import shlex
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from eventflow.topology import Lane, dead_queue, lane_queue, retry_queue
from sandbox.ports import LOOPBACK, free_port
from tests.availability.connection import Address
from tests.availability.scenario import QUOTA_PER_S, Leftovers
from tests.chaos.world import ids_in
from tests.kubernetes.commands import CommandError, Kubectl, run
from tests.kubernetes.surroundings import Surroundings
from tests.support.amqp import Amqp
from tests.support.kubernetes import with_values
from tests.support.wait import eventually

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "event-flow"
RABBITMQ = ROOT / "deploy" / "helm" / "examples" / "rabbitmq-statefulset.yaml"
MAKE_SECRETS = ROOT / "deploy" / "make-secrets"

RELEASE = "event-flow"
COLLECTORS = f"statefulset/{RELEASE}-collector"
PROCESSORS = f"deployment/{RELEASE}-processor"
BROKERS = "statefulset/rabbitmq"
COLLECTOR_PODS = "app.kubernetes.io/component=collector"
PROCESSOR_PODS = "app.kubernetes.io/component=processor"
BROKER_PODS = "app.kubernetes.io/name=rabbitmq"
COLLECTOR_ADMIN_PORT = 9464
BROKER_NODES = 3

FLOW = "default"
RETRY_DELAYS_S = (1.0, 5.0)
READY_WITHIN_S = 300.0
LOOK_EVERY_S = 5.0

BALANCED_SERVICE = "balanced"


class Installation:
    """RabbitMQ and a release of the chart.

    Attributes:
        name: Kind and size of the cluster.
        api_key: Key of the flow's sender.
        address: Address of the balancer; set for each scenario.
    """

    address: Address

    def __init__(self, surroundings: Surroundings, namespace: str, *, target_url: str) -> None:
        self.surroundings = surroundings
        self.kubectl = Kubectl(namespace)
        self.api_key = ""
        self.name = surroundings.name
        self.target_url = target_url
        self._directory = tempfile.TemporaryDirectory(prefix="eventflow-kubernetes-")
        self._operator_url = ""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Create the namespace, install all, and run the tests of the chart; remove all at the end."""
        try:
            await self.kubectl.apply(_namespace(self.kubectl.namespace))
            await self._make_secrets()
            await self._install_rabbitmq()
            await self.install()
            await self.helm("test", RELEASE, "--logs")
            await self.kubectl.apply(_balanced_service())
            yield
        finally:
            await asyncio.shield(self._remove())

    async def install(self, image: str | None = None, **values: Any) -> None:
        """Install the chart, or change the release; wait until all pods are ready.

        Args:
            image: Image of Event Flow; None for the one under test.
            values: Values of the chart besides the usual ones.
        """
        path = Path(self._directory.name) / "values.json"
        path.write_text(json.dumps(with_values(self._values(image or self.surroundings.image), values)))
        await self.helm("upgrade", "--install", RELEASE, str(CHART), f"--values={path}", "--history-max=5")
        await self.ready()

    async def helm(self, *arguments: str) -> str:
        """Run helm in the namespace."""
        return await run("helm", "--namespace", self.kubectl.namespace, *arguments, within_s=120)

    async def ready(self, *, within_s: float = READY_WITHIN_S) -> None:
        """Wait until all pods are ready."""
        await asyncio.gather(
            *(self.kubectl.rolled_out(workload, within_s=within_s) for workload in (BROKERS, COLLECTORS, PROCESSORS))
        )

    async def accept_keys(self, *keys: str) -> None:
        """Change the keys of the flow's sender. New collectors accept all of these, one per line."""
        await self.kubectl.apply(_secret("eventflow-sources", {"default": "\n".join(keys)}))

    async def balanced_ports(self) -> tuple[int, int]:
        """Return the port of each node for events, and for the check of its health."""
        spec = (await self.kubectl.get("service", BALANCED_SERVICE))["spec"]
        return spec["ports"][0]["nodePort"], spec["healthCheckNodePort"]

    async def pods(self, selector: str) -> dict[str, str]:
        """Return the node of each pod that is not about to end; empty if it waits for a node."""
        found = await self.kubectl.items("pods", f"--selector={selector}")
        return {
            pod["metadata"]["name"]: pod["spec"].get("nodeName", "")
            for pod in found
            if "deletionTimestamp" not in pod["metadata"]
        }

    async def spooled(self) -> float:
        """Return the number of events in the spools of all collectors."""
        pods = await self.pods(COLLECTOR_PODS)
        counts = [self.kubectl.pod_metric(pod, COLLECTOR_ADMIN_PORT, "eventflow_spool_events") for pod in pods]
        return sum(await asyncio.gather(*counts))

    async def spools_empty(self, *, within_s: float = 60.0) -> None:
        """Wait until no collector has an event in its spool.

        It looks seldom, because each look starts several programs, which take time from the services under test.
        """

        async def are() -> bool:
            with suppress(CommandError):  # a pod is not ready yet
                if await self.spooled() == 0:
                    return True
            await asyncio.sleep(LOOK_EVERY_S)
            return False

        await eventually(are, within_s=within_s, what="empty spools")

    async def leftovers(self) -> Leftovers:
        """Look for events in all queues."""
        lanes = (lane_queue(FLOW, lane) for lane in Lane)
        work = (*lanes, *(retry_queue(FLOW, delay_s) for delay_s in RETRY_DELAYS_S))
        async with self._amqp() as amqp:
            return Leftovers(waiting=await ids_in(amqp, work), dead=await ids_in(amqp, [dead_queue(FLOW)]))

    @asynccontextmanager
    async def _amqp(self) -> AsyncIterator[Amqp]:
        """Yield an AMQP client, through a forwarded port."""
        port = free_port()
        forwarding = await asyncio.create_subprocess_exec(
            "kubectl", f"--namespace={self.kubectl.namespace}", "port-forward", "service/rabbitmq", f"{port}:5672",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            await eventually(lambda: _listens(port), within_s=60, what="a forwarded port to RabbitMQ")
            async with Amqp(re.sub("@[^/]+", f"@{LOOPBACK}:{port}", self._operator_url)) as client:
                yield client
        finally:
            forwarding.kill()
            await forwarding.wait()

    async def _make_secrets(self) -> None:
        directory = Path(self._directory.name) / "secrets"
        nodes = [f"rabbitmq-{number}.rabbitmq-nodes:5672" for number in range(BROKER_NODES)]
        await run(sys.executable, str(MAKE_SECRETS), "--directory", str(directory), "--broker", *nodes)
        self.api_key = (directory / "sources" / "default").read_text().strip()
        names = [f"{user}-broker-url" for user in ("collector", "processor", "console", "operator")]
        # With commas between them, since 0.1.0 reads several URLs in this form only.
        urls = {name: ",".join((directory / name).read_text().split()) for name in names}
        self._operator_url = urls["operator-broker-url"].split(",")[0]
        definitions = (directory / "definitions.json").read_text()
        await self.kubectl.apply(
            _secret("rabbitmq", {"definitions.json": definitions, "erlang-cookie": "cookie-of-the-tests"}),
            _secret("eventflow", urls),
        )
        await self.accept_keys(self.api_key)

    async def _install_rabbitmq(self) -> None:
        objects = [found for found in yaml.safe_load_all(RABBITMQ.read_text()) if found]
        brokers = next(found for found in objects if found["kind"] == "StatefulSet")
        pod = brokers["spec"]["template"]["spec"]
        user = self.surroundings.rabbitmq_user
        pod["securityContext"] |= {"runAsUser": user, "runAsGroup": user, "fsGroup": user}
        for container in (*pod["initContainers"], *pod["containers"]):
            container["image"] = self.surroundings.rabbitmq_image
        if self.surroundings.rabbitmq_command:
            pod["containers"][0]["command"] = shlex.split(self.surroundings.rabbitmq_command)
        for claim in brokers["spec"]["volumeClaimTemplates"]:
            claim["spec"]["resources"]["requests"]["storage"] = "2Gi"
        await self.kubectl.apply(*objects)
        await self.kubectl.rolled_out(BROKERS, within_s=READY_WITHIN_S)

    def _values(self, image: str) -> dict[str, Any]:
        repository, _, tag = image.rpartition(":")
        return {
            "image": {"repository": repository, "tag": tag},
            "config": configuration(self.target_url),
            "broker": {"existingSecret": "eventflow", "managementUrl": "http://rabbitmq:15672"},
            "sources": {"existingSecret": "eventflow-sources"},
            "console": {"enabled": False},
            "collector": {
                # Not in `env` of all services: a processor of an older version would read the file too, and lacks it.
                "env": {"EVENTFLOW_SOURCE__API_KEYS_FILE": "/run/secrets/sources/default"},
                "spool": {"size": "1Gi", "maxBytes": 268435456},
            },
        }

    async def _remove(self) -> None:
        self._directory.cleanup()
        try:
            # The pods first, without a grace period: each broker would wait in its preStop hook for the majority, and
            # the namespace for half of their grace period.
            await self.kubectl("delete", "statefulsets,deployments,replicasets", "--all", "--cascade=orphan")
            await self.kubectl("delete", "pods", "--all", "--force", "--grace-period=0")
            await run("kubectl", "delete", "namespace", self.kubectl.namespace, "--ignore-not-found", within_s=180)
        except CommandError as error:
            print(f"the namespace {self.kubectl.namespace} could not be removed: {error}", flush=True)


def configuration(target_url: str, *, rate_per_s: float | None = QUOTA_PER_S) -> str:
    """Return the settings of the flow, as TOML; a rate of None is no quota."""
    delays_s = ", ".join(f"{delay_s:g}" for delay_s in RETRY_DELAYS_S)
    quota = [] if rate_per_s is None else [f"rate_per_s = {rate_per_s:g}"]
    return "\n".join(["[target]", f'url = "{target_url}"', *quota, f"retry_delays_s = [{delays_s}]"])


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(LOOPBACK, port)
    except ConnectionError:
        return False
    writer.close()
    return True


def _secret(name: str, files: Mapping[str, str]) -> dict[str, Any]:
    data = {key: base64.b64encode(text.encode()).decode() for key, text in files.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}


def _namespace(name: str) -> dict[str, Any]:
    """Return a namespace that refuses pods with more rights than they need."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _balanced_service() -> dict[str, Any]:
    """Return the Service behind the balancer: each node serves its own collectors, and reports if it has any."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": BALANCED_SERVICE},
        "spec": {
            "type": "LoadBalancer",
            "loadBalancerClass": "event-flow.test/outside",  # no controller of the cluster serves this class
            "externalTrafficPolicy": "Local",
            "selector": {"app.kubernetes.io/instance": RELEASE, "app.kubernetes.io/component": "collector"},
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
        },
    }
