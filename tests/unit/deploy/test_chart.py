"""The files of the Helm chart agree with the files that they follow from."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

HELM = Path(__file__).parents[3] / "deploy" / "helm"
CHART = HELM / "event-flow"
SCHEMA = json.loads((CHART / "values.schema.json").read_text())


def test_the_generated_files_are_up_to_date() -> None:
    """`make format` writes them: values, their schema and table, alerts, dashboards, and the version."""
    command = [sys.executable, str(HELM / "generate.py"), "--check"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (checked.returncode, checked.stdout) == (0, "")


def properties(schema: dict[str, Any], above: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, part in schema.get("properties", {}).items():
        yield above + name, part
        yield from properties(part, f"{above}{name}.")


def test_every_value_is_described_and_no_other_is_accepted() -> None:
    for name, part in properties(SCHEMA):
        assert part["description"].endswith("."), name
        if "properties" in part:
            assert part["additionalProperties"] is False, name
    assert SCHEMA["additionalProperties"] is False


@pytest.mark.parametrize(
    "file", [CHART / "values.yaml", HELM / "examples" / "values.yaml"], ids=["defaults", "example"]
)
def test_values_follow_the_schema(file: Path) -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.validate(yaml.safe_load(file.read_text()), SCHEMA)


def test_no_default_names_a_registry() -> None:
    assert yaml.safe_load((CHART / "values.yaml").read_text())["image"]["repository"] == "event-flow"
