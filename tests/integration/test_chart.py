"""The Helm chart renders objects that Kubernetes and the operators accept, with pods that start and are restricted."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from eventflow.settings.load import load
from eventflow.settings.roles import Role
from eventflow.settings.root import Settings
from eventflow_collector.guards import require_safe_exposure
from eventflow_console.guards import require_safe_access
from eventflow_processor.guards import require_target_urls
from eventflow_relay.guards import database_url_of
from tests.support.charts import MINIMAL, VALUE_SETS, rendered
from tests.support.kubernetes import (
    CHART,
    EXAMPLES,
    NAMESPACE,
    Manifest,
    custom_kinds,
    find,
    kinds_of_cluster,
    of_kind,
    pods,
    render,
    run,
    with_values,
    write_schemas,
)
from tests.support.prometheus import alert_rules

PRODUCTION = VALUE_SETS["production"]
SCHEMAS_VARIABLE = "KUBERNETES_SCHEMAS"
SPOOL_DIRECTORY = "/var/lib/eventflow/spool"
STOP_BOUNDS = ("SHUTDOWN_DELAY_S", "DRAIN_TIMEOUT_S", "SPOOL_DRAIN_TIMEOUT_S")


EXAMPLE_FILES = pytest.mark.parametrize(
    "example", ["rabbitmq-operator.yaml", "rabbitmq-statefulset.yaml", "send-left-spool.yaml"]
)


@pytest.fixture(params=VALUE_SETS)
def values(request: pytest.FixtureRequest) -> dict[str, Any]:
    return VALUE_SETS[request.param]


@pytest.fixture(params=VALUE_SETS)
def manifests(request: pytest.FixtureRequest) -> Sequence[Manifest]:
    return rendered(request.param)


def test_helm_finds_no_fault(values: dict[str, Any]) -> None:
    linted = run("helm", "lint", "--strict", "--quiet", str(CHART), "--values", "-", text=json.dumps(values))
    assert linted.returncode == 0, linted.stdout + linted.stderr


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the locations of schemas for kubeconform: those of the operators' kinds, and those in KUBERNETES_SCHEMAS.

    The schemas of Kubernetes' own kinds are not part of this repository; a cluster checks the same below.
    """
    given = os.environ.get(SCHEMAS_VARIABLE)
    return [write_schemas(tmp_path_factory.mktemp("schemas")), *([given] if given else [])]


def test_objects_follow_the_schemas_of_their_kinds(manifests: Sequence[Manifest], schemas: list[str]) -> None:
    conform(manifests, schemas)


@EXAMPLE_FILES
def test_the_examples_follow_the_schemas_of_their_kinds(example: str, schemas: list[str]) -> None:
    conform(list(yaml.safe_load_all((EXAMPLES / example).read_text())), schemas)


def conform(manifests: Sequence[Manifest], schemas: list[str]) -> None:
    if len(schemas) == 1:
        manifests = of_kind(manifests, *custom_kinds())
    options = [option for place in schemas for option in ("-schema-location", place)]
    checked = run("kubeconform", "-strict", *options, text=yaml.safe_dump_all(manifests))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_cluster_accepts_every_object_without_a_warning(manifests: Sequence[Manifest]) -> None:
    accepted_by_cluster(manifests)


@EXAMPLE_FILES
def test_a_cluster_accepts_the_examples_without_a_warning(example: str) -> None:
    accepted_by_cluster(list(yaml.safe_load_all((EXAMPLES / example).read_text())))


def accepted_by_cluster(manifests: Sequence[Manifest]) -> None:
    """Let the API server check objects and change nothing. It does not know the kinds of operators that it lacks."""
    known = yaml.safe_dump_all(of_kind(manifests, *kinds_of_cluster()))
    # A pod of its own, without a workload, is refused if its account does not exist, and nothing does in a dry run.
    text = known.replace("serviceAccountName: event-flow", "serviceAccountName: default")
    options = ["--dry-run=server", "--validate=strict", "--server-side", "--namespace=default", "--filename=-"]
    checked = run("kubectl", "apply", *options, text=text)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_every_object_has_a_name_of_its_own_and_the_common_labels(manifests: Sequence[Manifest]) -> None:
    names = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests]
    assert len(set(names)) == len(names)
    for manifest in manifests:
        assert manifest["metadata"]["name"].startswith("event-flow")
        assert manifest["metadata"]["labels"]["app.kubernetes.io/instance"] == "event-flow"


def test_selectors_select_the_pods_of_their_service(manifests: Sequence[Manifest]) -> None:
    labels = {name: given for name, given, _ in pods(manifests)}
    for manifest in of_kind(manifests, "Service", "PodDisruptionBudget", "NetworkPolicy", "StatefulSet", "Deployment"):
        spec = manifest["spec"]
        selector = spec.get("selector") or spec["podSelector"]
        wanted = selector.get("matchLabels", selector).items()
        selected = {name for name, given in labels.items() if wanted <= given.items()}
        assert selected == {manifest["metadata"]["name"].removesuffix("-pods")}


def test_every_pod_is_restricted(manifests: Sequence[Manifest]) -> None:
    """As "restricted" of the Pod Security Standards demands, and with a read-only root and without a token."""
    for name, _, spec in pods(manifests):
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, name
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"requests", "limits"} <= container["resources"].keys()


def test_no_mount_has_a_sub_path_because_such_files_are_never_renewed(manifests: Sequence[Manifest]) -> None:
    for _, _, spec in pods(manifests):
        assert all("subPath" not in mount for container in spec["containers"] for mount in container["volumeMounts"])


def test_every_mount_has_its_volume(manifests: Sequence[Manifest]) -> None:
    claims = {"spool"}
    for name, _, spec in pods(manifests):
        mounted = {mount["name"] for container in spec["containers"] for mount in container["volumeMounts"]}
        assert {volume["name"] for volume in spec["volumes"]} == mounted - claims, name


def secrets_of(spec: Manifest) -> dict[str, str]:
    """Return the path of each file with a secret, and the name of the Secret with its key: SECRET or SECRET/KEY."""
    mounts = {mount["name"]: mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]}
    found: dict[str, str] = {}
    for volume in spec["volumes"]:
        sources = [part["secret"] for part in volume.get("projected", {}).get("sources", [])]
        sources += [volume["secret"]] if "secret" in volume else []
        for source in sources:
            name = source.get("name") or source["secretName"]
            items = source.get("items")
            files = {f"/{item['path']}": f"{name}/{item['key']}" for item in items} if items else {"": name}
            found |= {mounts[volume["name"]] + path: key for path, key in files.items()}
    return found


def test_each_service_sees_its_own_secrets_only() -> None:
    seen = {name: secrets_of(spec) for name, _, spec in pods(rendered("production"))}
    tls = {"/etc/eventflow/broker-tls": "eventflow-rabbitmq-ca"}
    directory = "/run/secrets/eventflow"
    assert seen == {
        "event-flow-collector": tls
        | {f"{directory}/broker-url": "eventflow/collector-broker-url", "/run/secrets/sources": "eventflow-sources"},
        "event-flow-processor": tls
        | {
            f"{directory}/broker-url": "eventflow/processor-broker-url",
            f"{directory}/history-url": "eventflow/history-url",
            "/run/secrets/targets": "eventflow-targets",
        },
        "event-flow-console": tls
        | {
            f"{directory}/broker-url": "eventflow/console-broker-url",
            f"{directory}/history-url": "eventflow/history-url",
            f"{directory}/console-users": "eventflow/console-users",
        },
        "event-flow-test": tls
        | {
            f"{directory}/broker-url": "eventflow/operator-broker-url",
            f"{directory}/history-url": "eventflow/history-url",
        },
        "event-flow-migration": {f"{directory}/history-url": "eventflow/history-url"},
    }


def test_only_what_runs_handlers_has_their_code_and_their_databases() -> None:
    specs = {name: spec for name, _, spec in pods(rendered("with handlers"))}
    with_code = {
        name for name, spec in specs.items() if spec["containers"][0]["image"] == "registry.example.com/shop:7"
    }
    with_urls = {name for name, spec in specs.items() if "eventflow-handlers" in secrets_of(spec).values()}
    assert with_code == with_urls == {"event-flow-processor", "event-flow-test"}
    directory = "/run/secrets/eventflow"
    assert secrets_of(specs["event-flow-relay"]) == {
        f"{directory}/broker-url": "eventflow/relay-broker-url",
        f"{directory}/database-url": "eventflow/database-url",
    }
    assert secrets_of(specs["event-flow-database-migration"]) == {
        f"{directory}/database-url": "eventflow/database-owner-url"
    }


CONTENTS = {
    "broker-url": "amqp://user:password@rabbitmq:5672/eventflow",
    "broker-username": "user",
    "broker-password": "password-of-it",
    "history-url": "postgresql://user:password@postgres/eventflow",
    "database-url": "postgresql://user:password@postgres/shop",
    "handlers": "postgresql://user:password@postgres/shop",
    "console-users": "alice:$scrypt$ln=15,r=8,p=3$c2FsdHNhbHRzYWx0c2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g",
    "sources": "key-of-a-sender-1",
    "targets": '{"Authorization": "Bearer 1"}',
}


@pytest.mark.parametrize("name", [name for name in VALUE_SETS if name != "settings of its own"])
@pytest.mark.parametrize(
    ("service", "role", "guards"),
    [
        ("collector", Role.COLLECTOR, [require_safe_exposure]),
        ("processor", Role.PROCESSOR, [require_target_urls]),
        ("relay", Role.RELAY, [database_url_of]),
        ("console", Role.CONSOLE, [require_safe_access]),
        ("test", Role.OPERATOR, []),
    ],
)
def test_each_service_starts_with_the_settings_of_its_pod(
    name: str,
    service: str,
    role: Role,
    guards: list[Callable[[Settings], object]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    manifests = rendered(name)
    spec = next((spec for pod, _, spec in pods(manifests) if pod == f"event-flow-{service}"), None)
    if spec is None:
        pytest.skip("these values have no such pod")
    for variable, value in in_directory(spec, find(manifests, "ConfigMap", "config"), tmp_path).items():
        monkeypatch.setenv(variable, value)
    settings = load(None, role)
    for guard in guards:
        guard(settings)
    assert settings.collector.spool_dir is None or str(settings.collector.spool_dir) == SPOOL_DIRECTORY


def in_directory(spec: Manifest, config: Manifest, directory: Path) -> dict[str, str]:
    """Write the files of a pod into a directory, and return its variables with the paths there."""
    files = directory / "files"
    for path, key in secrets_of(spec).items():
        file = files / path.removeprefix("/")
        if "/" in key:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(CONTENTS[Path(path).name])
        elif Path(path).name in CONTENTS:
            file.mkdir(parents=True)
            for flow in ("default", "shopify", "orders"):
                (file / flow).write_text(CONTENTS[Path(path).name])
    settings = files / "etc/eventflow/config"
    settings.mkdir(parents=True)
    for key, text in config["data"].items():
        (settings / key).write_text(text)
    return {
        one["name"]: str(one.get("value", "10.0.0.1"))
        .replace("/run/", f"{files}/run/")
        .replace("/etc/", f"{files}/etc/")
        for one in spec["containers"][0]["env"]
    }


def test_a_pod_has_longer_to_stop_than_its_service_needs() -> None:
    changed = with_values(
        MINIMAL,
        {
            "collector": {"shutdownDelaySeconds": 20, "drainTimeoutSeconds": 30, "spool": {"drainTimeoutSeconds": 60}},
            "processor": {"drainTimeoutSeconds": 40},
        },
    )
    for manifests in (*map(rendered, VALUE_SETS), render(changed)):
        specs = {pod: spec for pod, _, spec in pods(manifests)}
        for service in ("collector", "processor"):
            spec = specs[f"event-flow-{service}"]
            given = variables_of(spec["containers"][0])
            bounds = (given.get(f"EVENTFLOW_{service.upper()}__{name}", 0) for name in STOP_BOUNDS)
            assert spec["terminationGracePeriodSeconds"] >= sum(map(int, bounds)) + 10


def variables_of(container: Manifest) -> dict[str, Any]:
    return {one["name"]: one.get("value") for one in container["env"]}


def test_an_image_without_the_delay_sleeps_before_it_stops() -> None:
    spec = find(rendered("an image of version 0.2"), "StatefulSet", "collector")["spec"]["template"]["spec"]
    assert spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "5"]
    current = find(rendered("minimal"), "StatefulSet", "collector")["spec"]["template"]["spec"]
    assert "lifecycle" not in current["containers"][0]


def test_a_volume_of_a_spool_is_never_deleted_with_its_pod() -> None:
    for name in ("minimal", "production"):
        spec = find(rendered(name), "StatefulSet", "collector")["spec"]
        assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
        assert [claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]] == ["spool"]


def test_all_processors_are_replaced_before_they_stop() -> None:
    strategy = find(rendered("minimal"), "Deployment", "processor")["spec"]["strategy"]
    assert strategy["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": "100%"}


def test_pods_of_an_old_version_do_not_count_in_the_spread_of_new_ones(manifests: Sequence[Manifest]) -> None:
    """Both new processors could be put on the one node without an old one, and stay there alone together.

    Pods of a StatefulSet do not have this label, and then Kubernetes ignores the key.
    """
    for name in ("event-flow-collector", "event-flow-processor"):
        (spec,) = (spec for pod, _, spec in pods(manifests) if pod == name)
        constraints = spec["topologySpreadConstraints"]
        assert [constraint["matchLabelKeys"] for constraint in constraints] == [["pod-template-hash"]] * 2


def test_pods_that_are_not_ready_may_always_be_evicted(manifests: Sequence[Manifest]) -> None:
    budgets = of_kind(manifests, "PodDisruptionBudget")
    assert {"event-flow-collector", "event-flow-processor"} <= {one["metadata"]["name"] for one in budgets}
    assert {one["spec"]["unhealthyPodEvictionPolicy"] for one in budgets} == {"AlwaysAllow"}


def test_a_changed_configuration_starts_new_pods() -> None:
    def checksums(values: dict[str, Any]) -> set[str]:
        workloads = of_kind(render(values), "StatefulSet", "Deployment")
        return {one["spec"]["template"]["metadata"]["annotations"]["checksum/config"] for one in workloads}

    before, after = checksums(MINIMAL), checksums({**MINIMAL, "config": "[target]\nurl = 'http://other/'\n"})
    assert len(before) == len(after) == 1
    assert before != after


def test_a_variable_replaces_the_one_of_the_chart_and_a_large_number_stays_whole() -> None:
    changed = {
        "env": {"EVENTFLOW_TELEMETRY__LOG_LEVEL": "debug", "EVENTFLOW_COLLECTOR__MAX_IN_FLIGHT_BYTES": 134217728},
        "collector": {"env": {"EVENTFLOW_TELEMETRY__LOG_LEVEL": "error", "EVENTFLOW_COLLECTOR__ADMIN_HOST": "::"}},
    }
    specs = {pod: spec for pod, _, spec in pods(render(with_values(MINIMAL, changed)))}
    collector, processor = (
        variables_of(specs[f"event-flow-{name}"]["containers"][0]) for name in ("collector", "processor")
    )
    assert collector["EVENTFLOW_TELEMETRY__LOG_LEVEL"] == "error"
    assert processor["EVENTFLOW_TELEMETRY__LOG_LEVEL"] == "debug"
    assert collector["EVENTFLOW_COLLECTOR__ADMIN_HOST"] == "::"
    assert collector["EVENTFLOW_COLLECTOR__MAX_IN_FLIGHT_BYTES"] == "134217728"


def test_the_alerts_are_those_of_the_deployment() -> None:
    (rule,) = of_kind(rendered("production"), "PrometheusRule")
    of_chart = [alert for group in rule["spec"]["groups"] for alert in group["rules"]]
    for alert in of_chart:
        assert alert["annotations"].pop("runbook_url").startswith("docs/operations.md#")
    for alert in (expected := alert_rules()):
        del alert["annotations"]["runbook"]
    assert of_chart == expected


def test_alerts_can_be_left_out_and_labelled() -> None:
    changed = {
        "prometheusRule": {
            "enabled": True,
            "alertLabels": {"team": "events"},
            "disabled": ["EventFlowReordered"],
            "runbookUrl": "https://git.example.com/event-flow/blob/main/",
        }
    }
    (rule,) = of_kind(render(with_values(MINIMAL, changed)), "PrometheusRule")
    alerts = {alert["alert"]: alert for group in rule["spec"]["groups"] for alert in group["rules"]}
    assert alerts.keys() == {alert["alert"] for alert in alert_rules()} - {"EventFlowReordered"}
    down = alerts["EventFlowDown"]
    assert down["labels"] == {"severity": "critical", "team": "events"}
    assert down["annotations"]["runbook_url"] == (
        "https://git.example.com/event-flow/blob/main/docs/operations.md#eventflowdown"
    )


def test_jobs_have_the_names_that_alerts_and_dashboards_use() -> None:
    monitors = of_kind(rendered("production"), "PodMonitor")
    endpoints = [endpoint for monitor in monitors for endpoint in monitor["spec"]["podMetricsEndpoints"]]
    jobs = {one["replacement"] for each in endpoints for one in each["relabelings"] if one["targetLabel"] == "job"}
    services = ("collector", "processor", "console")
    assert jobs == {*(f"eventflow-{service}" for service in services), "rabbitmq", "rabbitmq-queues"}


def test_dashboards_can_use_another_data_source() -> None:
    changed = {"dashboards": {"enabled": True, "datasource": "mimir"}}
    for config in of_kind(render(with_values(MINIMAL, changed)), "ConfigMap"):
        for name, text in config["data"].items():
            if name.endswith(".json"):
                assert {panel["datasource"]["uid"] for panel in json.loads(text)["panels"]} == {"mimir"}


def test_the_probes_reach_the_admin_port_at_the_address_of_the_pod(manifests: Sequence[Manifest]) -> None:
    for workload in of_kind(manifests, "StatefulSet", "Deployment"):
        (container,) = workload["spec"]["template"]["spec"]["containers"]
        host = f"EVENTFLOW_{container['name'].upper()}__ADMIN_HOST"
        (found,) = (one for one in container["env"] if one["name"] == host)
        assert found["valueFrom"] == {"fieldRef": {"fieldPath": "status.podIP"}}
        port = {"name": "admin", "containerPort": int(variables_of(container)[host.replace("HOST", "PORT")])}
        assert port in container["ports"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[probe]["httpGet"]["port"] == "admin"


def test_the_console_accepts_the_hosts_of_its_routes_and_of_its_service() -> None:
    (container,) = find(rendered("behind a proxy"), "Deployment", "console")["spec"]["template"]["spec"]["containers"]
    service = "event-flow-console"
    assert variables_of(container)["EVENTFLOW_CONSOLE__HOSTS"].split(",") == [
        "console.example.com",
        service,
        f"{service}.{NAMESPACE}",
        f"{service}.{NAMESPACE}.svc",
    ]
