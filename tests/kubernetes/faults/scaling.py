"""Collectors that follow the load by themselves."""

import asyncio
import json
import time
from functools import partial
from typing import Any

from tests.availability.result import Goal
from tests.availability.scenario import Scenario
from tests.kubernetes.case import Case, KubernetesWorld
from tests.kubernetes.installation import COLLECTOR_ADMIN_PORT, COLLECTOR_PODS, COLLECTORS, Installation, configuration
from tests.kubernetes.surroundings import Surroundings
from tests.support.wait import eventually

LOW_PER_S = 50.0
RISE_S, HIGH_S = 90.0, 45.0
HIGH_MAX_S = 150.0
"""Longest peak: it goes on until a collector was added."""

HELD_PER_S = 100.0
"""Quota of the flow during the load. The cluster shares a machine with the load, so most deliveries come after it."""

REST_WITHIN_S = 600.0
STEP_S = 2.0
LEAST, MOST = 2, 8
CPU = "250m"
BACK_WITHIN_S = 300.0

PROMETHEUS = "prometheus"
PROMETHEUS_PORT = 9090


async def install_autoscaler(cluster: Installation, *, engine: str) -> None:
    if engine == "keda":
        await _install_prometheus(cluster)
    await _install(cluster, engine=engine, rate_per_s=HELD_PER_S)


async def load_rises_and_falls(world: KubernetesWorld, *, engine: str) -> None:
    load, peak_per_s, highest = world.load, world.cluster.surroundings.peak_per_s, LEAST
    began_s = time.monotonic()
    while (passed_s := time.monotonic() - began_s) < RISE_S + (HIGH_MAX_S if highest == LEAST else HIGH_S):
        load.rate_per_s = min(peak_per_s, LOW_PER_S + (peak_per_s - LOW_PER_S) * passed_s / RISE_S)
        highest = max(highest, len(await world.cluster.pods(COLLECTOR_PODS)))
        await asyncio.sleep(STEP_S)
    load.rate_per_s = LOW_PER_S
    await eventually(lambda: _has_least(world), within_s=BACK_WITHIN_S, what=f"{LEAST} collectors again")
    await world.cluster.kubectl.rolled_out(COLLECTORS)
    world.remarks.append(f"{LOW_PER_S:g} -> {peak_per_s:g} -> {LOW_PER_S:g} events/s")
    world.remarks.append(f"collectors {LEAST} -> {highest} -> {LEAST}")
    if highest == LEAST:
        world.problems.append("no collector was added")
    await world.cluster.spools_empty()
    await _install(world.cluster, engine=engine, rate_per_s=None)


async def _install(cluster: Installation, *, engine: str, rate_per_s: float | None) -> None:
    await cluster.install(
        collector={
            "autoscaling": {
                "enabled": True,
                "engine": engine,
                "prometheusUrl": f"http://{PROMETHEUS}.{cluster.kubectl.namespace}:{PROMETHEUS_PORT}",
                "minReplicas": LEAST,
                "maxReplicas": MOST,
                "scaleDownAfterSeconds": 30,
                "scaleDownEverySeconds": 15,
            },
            "resources": {"requests": {"cpu": CPU}, "limits": {"cpu": CPU}},
        },
        config=configuration(cluster.target_url, rate_per_s=rate_per_s),
    )


async def _has_least(world: KubernetesWorld) -> bool:
    return len(await world.cluster.pods(COLLECTOR_PODS)) == LEAST


async def _install_prometheus(cluster: Installation) -> None:
    """Install a Prometheus that reads the collectors alone, with the labels that the chart's PodMonitor gives."""
    labels = {"app.kubernetes.io/name": PROMETHEUS}
    scrape = {
        "job_name": "eventflow-collector",
        "dns_sd_configs": [{"names": ["event-flow-collector-pods"], "type": "A", "port": COLLECTOR_ADMIN_PORT}],
        "relabel_configs": [{"target_label": "namespace", "replacement": cluster.kubectl.namespace}],
    }
    configuration_json = json.dumps({"global": {"scrape_interval": "5s"}, "scrape_configs": [scrape]})
    await cluster.kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": PROMETHEUS},
            "data": {"prometheus.yml": configuration_json},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": PROMETHEUS},
            "spec": {"selector": labels, "ports": [{"port": PROMETHEUS_PORT}]},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": PROMETHEUS},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": _prometheus_pod(cluster.surroundings)},
            },
        },
    )
    await cluster.kubectl.rolled_out(f"deployment/{PROMETHEUS}")


def _prometheus_pod(surroundings: Surroundings) -> dict[str, Any]:
    return {
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": PROMETHEUS,
                "image": surroundings.prometheus_image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["prometheus", "--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/data"],
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                "readinessProbe": {"httpGet": {"path": "/-/ready", "port": PROMETHEUS_PORT}, "periodSeconds": 2},
                "volumeMounts": [
                    {"name": "configuration", "mountPath": "/etc/prometheus"},
                    {"name": "data", "mountPath": "/data"},
                ],
            }
        ],
        "volumes": [{"name": "configuration", "configMap": {"name": PROMETHEUS}}, {"name": "data", "emptyDir": {}}],
    }


def _missing(surroundings: Surroundings, *, engine: str) -> str:
    if not surroundings.has_metrics:
        return "the resource metrics (metrics-server)"
    return "KEDA" if engine == "keda" and not surroundings.has_keda else ""


CASES = tuple(
    Case(
        scenario=Scenario(
            name=f"load rises and falls, collectors limited to {CPU} of CPU, {engine}",
            prepare=partial(install_autoscaler, engine=engine),
            fault=partial(load_rises_and_falls, engine=engine),
            goal=Goal(wait_max_s=None, quota_min=None),
            events_per_s=LOW_PER_S,
            quota_per_s=None,
            fresh_share=0.1,
            rest_within_s=REST_WITHIN_S,
        ),
        missing=partial(_missing, engine=engine),
        keeps_connections=True,  # as balancers of providers and ingress controllers do; no node is lost here
    )
    for engine in ("hpa", "keda")
)
