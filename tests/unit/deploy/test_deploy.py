"""The files of the deployment agree with each other."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[3] / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def test_every_mounted_file_is_there_and_every_volume_and_secret_is_declared() -> None:
    for name, service in COMPOSE["services"].items():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("./"):
                assert (DEPLOY / source).exists(), (name, mount)
            elif not source.startswith("/"):
                assert source in COMPOSE["volumes"], (name, mount)
        for secret in service.get("secrets", []):
            assert (secret if isinstance(secret, str) else secret["source"]) in COMPOSE["secrets"]


def test_only_the_image_of_the_demo_target_contains_the_sandbox() -> None:
    stages = re.split(r"^FROM ", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    with_sandbox = [stage for stage in stages if re.search(r"^COPY.* sandbox", stage, flags=re.MULTILINE)]
    assert [stage.split("\n")[0].split(" AS ")[-1] for stage in with_sandbox] == ["demo-target"]
    assert "demo-target" not in stages[-1]
    assert COMPOSE["services"]["target"]["build"]["target"] == "demo-target"
    assert COMPOSE["services"]["target"]["image"] != COMPOSE["services"]["collector"]["image"]


def test_make_secrets_makes_every_secret(tmp_path: Path) -> None:
    shutil.copy(DEPLOY / "make-secrets", tmp_path)
    shutil.copytree(DEPLOY / "rabbitmq", tmp_path / "rabbitmq")
    subprocess.run([sys.executable, "make-secrets"], cwd=tmp_path, check=True, capture_output=True, timeout=30)
    assert {path.name for path in (tmp_path / "secrets").iterdir()} == {
        Path(secret["file"]).name for secret in COMPOSE["secrets"].values()
    }


def test_dashboards_use_data_sources_that_are_provisioned_and_do_not_overlap() -> None:
    provisioned = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/eventflow.yaml").read_text())
    known = {source["uid"]: source["type"] for source in provisioned["datasources"]}
    for file in (DEPLOY / "grafana" / "dashboards").glob("*.json"):
        dashboard = json.loads(file.read_text())
        assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
        taken: set[tuple[int, int]] = set()
        for panel in dashboard["panels"]:
            assert known[panel["datasource"]["uid"]] == panel["datasource"]["type"]
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken, (file.name, panel["title"])
            assert place["x"] + place["w"] <= 24
            taken |= cells
    assert set(re.findall(r"datasourceUid: (\w+)", yaml.safe_dump(provisioned))) <= set(known)


def test_every_host_that_the_profile_names_is_a_service_in_it() -> None:
    texts = [
        path.read_text()
        for folder in ("prometheus", "grafana/provisioning", "otel-collector")
        for path in (DEPLOY / folder).rglob("*.y*ml")
    ]
    hosts = {host for text in texts for host in re.findall(r"(?:https?://|\"|\[)([a-z-]+):\d{4,5}", text)}
    assert hosts == {"prometheus", "loki", "jaeger", "alertmanager", "rabbitmq"}
    assert hosts <= set(COMPOSE["services"])


def test_traces_go_where_the_profile_receives_them() -> None:
    example = (DEPLOY / ".env.example").read_text()
    endpoint = re.search(r"OTEL_EXPORTER_OTLP_ENDPOINT=http://([\w-]+):(\d+)", example)
    receiver: dict[str, Any] = yaml.safe_load((DEPLOY / "otel-collector" / "config.yaml").read_text())["receivers"][
        "otlp"
    ]
    assert endpoint
    assert endpoint[1] in COMPOSE["services"]
    assert receiver["protocols"]["http"]["endpoint"].endswith(f":{endpoint[2]}")
