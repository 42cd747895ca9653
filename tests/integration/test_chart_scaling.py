"""The Helm chart scales collectors by their load, and processors only as far as they deliver more."""

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from eventflow.cli.needs import DELIVERED_PER_CORE_S
from tests.support.charts import MINIMAL, rendered
from tests.support.kubernetes import CHART, Manifest, find, of_kind, render, template, with_values

SCALED = {**MINIMAL, "processor": {"autoscaling": {"enabled": True, "minReplicas": 1, "maxReplicas": 1000}}}
Flow = Mapping[str, float]
"""Keys of a target, and `max_body_bytes` of its source."""


def toml(**flows: Flow) -> str:
    lines: list[str] = []
    for name, keys in flows.items():
        lines += [f"[flows.{name}.target]", 'url = "http://target/"']
        lines += [f"{key} = {value}" for key, value in keys.items() if key != "max_body_bytes"]
        lines += [f"[flows.{name}.source]", f"max_body_bytes = {keys.get('max_body_bytes', 1048576)}"]
    return "\n".join(lines)


def scaled(**flows: Flow) -> Manifest:
    return find(render({**SCALED, "config": toml(**flows)}), "ScaledObject", "processor")["spec"]


def queues(spec: Manifest) -> set[str]:
    return {trigger["metadata"]["queueName"] for trigger in spec["triggers"]}


def size_of(flow: Flow) -> Mapping[str, Any]:
    """Return what `eventflow size` computes."""
    options = {"rate_per_s": "--rate", "cost": "--cost", "timeout_s": "--timeout", "max_body_bytes": "--max-body"}
    given = [text for key, value in flow.items() for text in (options[key], str(value))]
    command = [sys.executable, "-m", "eventflow.cli", "size", "--json", *given]
    sized: Mapping[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    return sized


def test_a_processor_of_the_chart_is_as_fast_as_one_of_size() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert values["processor"]["eventsPerSecond"] == DELIVERED_PER_CORE_S


@pytest.mark.parametrize(
    "flow",
    [
        {"rate_per_s": 500},
        {"rate_per_s": 5000, "max_body_bytes": 65536, "timeout_s": 30},
        {"rate_per_s": 12000, "max_body_bytes": 4096},
        {"rate_per_s": 20000.5, "cost": 2.5, "timeout_s": 0.5, "max_body_bytes": 8192},
    ],
)
def test_the_largest_number_of_processors_is_that_of_size(flow: Flow) -> None:
    sized = size_of(flow)
    assert sized["processors"] > 1
    assert scaled(sold=flow)["maxReplicaCount"] == sized["processors_if_slow"]


@pytest.mark.parametrize("prefix", ["", "flows.orders."])
def test_a_handler_needs_processors_for_its_calls_at_a_time(prefix: str) -> None:
    config = f"""
        [{prefix}target]
        rate_per_s = 100
        [{prefix}handler]
        call = "shop.handlers:book"
        concurrency = 4
        timeout_s = 2
    """
    spec = find(render({**SCALED, "config": config}), "ScaledObject", "processor")["spec"]
    assert spec["maxReplicaCount"] == 50  # 100 calls/s of 2 s each, 4 at a time in a processor
    assert queues(spec) == {f"eventflow.{'orders' if prefix else 'default'}.events"}


def test_a_flow_that_has_only_a_handler_is_known() -> None:
    spec = find(render({**SCALED, "config": '[handler]\ncall = "shop.handlers:book"'}), "ScaledObject", "processor")[
        "spec"
    ]
    assert queues(spec) == {"eventflow.default.events"}


@pytest.mark.parametrize(
    "flow", [{"rate_per_s": 2}, {"rate_per_s": 100}, {"rate_per_s": 100, "cost": 50, "timeout_s": 30}]
)
def test_no_autoscaler_is_made_for_quotas_that_one_processor_delivers(flow: Flow) -> None:
    assert size_of(flow)["processors"] == 1
    refused = template({**SCALED, "config": toml(sold=flow)})
    assert "processor.autoscaling would have no effect" in refused.stderr


def test_only_flows_that_need_several_processors_scale_them() -> None:
    spec = scaled(slow={"rate_per_s": 2}, fast={"rate_per_s": 600}, unlimited={})
    assert queues(spec) == {"eventflow.fast.events", "eventflow.unlimited.events"}
    assert spec["maxReplicaCount"] == 1000  # a flow without a quota has no largest number


def test_a_flow_whose_name_is_no_text_in_yaml_scales_by_its_own_queue() -> None:
    names = ("no", "on", "010", "1e3", "null")
    assert queues(scaled(**{name: {} for name in names})) == {f"eventflow.{name}.events" for name in names}


def test_flows_that_one_processor_delivers_may_need_several_together() -> None:
    spec = scaled(**{f"flow-{n}": {"rate_per_s": 3000, "max_body_bytes": 1024, "timeout_s": 0.5} for n in range(9)})
    assert spec["maxReplicaCount"] == 4  # 27 000 events/s at 8000 for each


@pytest.mark.parametrize("name", ["collector", "processor"])
def test_nothing_is_scaled_to_zero_or_fast_down(name: str) -> None:
    values = "production" if name == "collector" else "processors by queue length"
    spec = find(rendered(values), "ScaledObject", name)["spec"]
    assert spec["minReplicaCount"] == 2
    assert "idleReplicaCount" not in spec
    down = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
    assert down["stabilizationWindowSeconds"] == 600
    assert [(policy["type"], policy["value"]) for policy in down["policies"]] == [("Pods", 1)]


def test_collectors_scale_by_cpu_and_open_requests_and_never_by_the_spool() -> None:
    spec = find(rendered("production"), "ScaledObject", "collector")["spec"]
    cpu, requests = spec["triggers"]
    assert (cpu["type"], requests["type"]) == ("cpu", "prometheus")
    assert requests["metadata"]["query"].startswith("sum(eventflow_ingest_in_flight{")
    (by_cpu,) = of_kind(rendered("collectors by CPU"), "HorizontalPodAutoscaler")
    assert [metric["resource"]["name"] for metric in by_cpu["spec"]["metrics"]] == ["cpu"]
    assert "spool" not in json.dumps([spec, by_cpu["spec"]])


def test_the_number_of_a_scaled_workload_belongs_to_its_autoscaler() -> None:
    assert "replicas" not in find(rendered("production"), "StatefulSet", "collector")["spec"]
    assert "replicas" not in find(rendered("processors by queue length"), "Deployment", "processor")["spec"]
    assert find(rendered("minimal"), "StatefulSet", "collector")["spec"]["replicas"] == 2
    assert find(rendered("minimal"), "Deployment", "processor")["spec"]["replicas"] == 2


def test_keda_verifies_the_certificate_of_the_broker() -> None:
    authentication = find(rendered("processors by queue length"), "TriggerAuthentication", "processor")
    assert authentication["spec"]["secretTargetRef"] == [
        {"parameter": "host", "name": "eventflow-keda", "key": "url"},
        {"parameter": "ca", "name": "rabbitmq-ca", "key": "ca.crt"},
    ]
    (switch,) = authentication["spec"]["configMapTargetRef"]
    config = find(rendered("processors by queue length"), "ConfigMap", switch["name"].removeprefix("event-flow-"))
    assert config["data"] == {switch["key"]: "enable"}
    plain = find(render(with_values(SCALED, {"config": toml(sold={})})), "TriggerAuthentication", "processor")
    assert plain["spec"]["secretTargetRef"] == [
        {"parameter": "host", "name": "eventflow", "key": "operator-broker-url"}
    ]
