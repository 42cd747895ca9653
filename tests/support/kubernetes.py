"""The Helm chart, as Helm renders it, and tools that check what it renders."""

import copy
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

HELM = Path(__file__).parents[2] / "deploy" / "helm"
CHART = HELM / "event-flow"
EXAMPLES = HELM / "examples"
DEFINITIONS = Path(__file__).parents[1] / "data" / "crds"

RELEASE = "event-flow"
NAMESPACE = "events"
KUBERNETES = "1.34.0"
"""Version for which Helm renders without a cluster."""

Manifest = Mapping[str, Any]


def program(name: str) -> str:
    """Return the path of a tool, or skip the test.

    It is skipped with CI=true too: no distribution has packages of these tools, so a fresh machine cannot install them.
    """
    return shutil.which(name) or pytest.skip(f"{name} is not installed")


def run(name: str, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a tool to its end."""
    command = [program(name), *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)


def template(values: Mapping[str, Any], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Render the chart with values; an error is in the result."""
    options = ["--namespace", NAMESPACE, "--kube-version", KUBERNETES, "--values", "-", *arguments]
    return run("helm", "template", RELEASE, str(CHART), *options, text=json.dumps(values))


def render(values: Mapping[str, Any]) -> list[Manifest]:
    """Return the objects of the chart with these values."""
    rendered = template(values)
    assert rendered.returncode == 0, rendered.stderr
    return [manifest for manifest in yaml.load_all(rendered.stdout, yaml.CSafeLoader) if manifest]


def with_values(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return values in which `changes` replace single values of `base`, at any depth, as Helm does."""
    merged = copy.deepcopy(dict(base))
    for name, value in changes.items():
        below = merged.get(name)
        merged[name] = with_values(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return merged


def find(manifests: Iterable[Manifest], kind: str, name: str) -> Manifest:
    """Return one object, by the end of its name."""
    (found,) = (one for one in manifests if one["kind"] == kind and one["metadata"]["name"] == f"{RELEASE}-{name}")
    return found


def of_kind(manifests: Iterable[Manifest], *kinds: str) -> list[Manifest]:
    """Return all objects of these kinds."""
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def pods(manifests: Iterable[Manifest]) -> Iterator[tuple[str, Manifest, Manifest]]:
    """Yield name, labels and specification of each pod."""
    for manifest in manifests:
        name, spec = manifest["metadata"]["name"], manifest.get("spec", {})
        if manifest["kind"] == "Pod":
            yield name, manifest["metadata"]["labels"], spec
        elif "template" in spec:
            yield name, spec["template"]["metadata"]["labels"], spec["template"]["spec"]


def definitions() -> list[Manifest]:
    """Return the custom resource definitions of the operators that the chart and its examples use."""
    return [json.loads(path.read_text()) for path in sorted(DEFINITIONS.glob("*.json"))]


def custom_kinds() -> set[str]:
    """Return the kinds of these operators."""
    return {definition["spec"]["names"]["kind"] for definition in definitions()}


def write_schemas(directory: Path) -> str:
    """Write the schemas of the definitions, and return their location for kubeconform."""
    for definition in definitions():
        kind, group = definition["spec"]["names"]["kind"], definition["spec"]["group"]
        for version in definition["spec"]["versions"]:
            schema = closed(version["schema"]["openAPIV3Schema"])
            name = f"{kind}-{group.partition('.')[0]}-{version['name']}.json".lower()
            (directory / name).write_text(json.dumps(schema))
    return f"{directory}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"


def closed(schema: Any) -> Any:
    """Return a schema that refuses properties that it does not name, as the API server does in a strict request."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(part) for name, part in schema.items()}
    is_closed = "properties" in schema and "additionalProperties" not in schema
    if is_closed and not schema.get("x-kubernetes-preserve-unknown-fields"):
        inner["additionalProperties"] = False
    return inner


@cache
def kinds_of_cluster() -> set[str]:
    """Return the kinds that the cluster of KUBECONFIG has, or skip the test if there is none."""
    if "KUBECONFIG" not in os.environ:
        pytest.skip("KUBECONFIG names no cluster")
    listed = run("kubectl", "api-resources", "--no-headers")
    assert listed.returncode == 0, listed.stderr
    return {line.split()[-1] for line in listed.stdout.splitlines()}
