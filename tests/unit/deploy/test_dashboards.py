"""The dashboards follow Grafana's published schema: of its SDK, for the version of Grafana in compose.yaml.

The SDK reads JSON leniently: it ignores unknown names and accepts values of any type. So a dashboard is read and
written again, which may lose nothing, and each value is compared with the declared type of its attribute.
"""

import copy
import importlib.metadata
import json
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from pydantic import ConfigDict, TypeAdapter, ValidationError

register_default_plugins()

GRAFANA = Path(__file__).parents[3] / "deploy" / "grafana"
DASHBOARDS = [*sorted((GRAFANA / "dashboards").glob("*.json")), *sorted((GRAFANA / "logs").glob("*.json"))]

OF_PROMETHEUS = {"annotations.list.titleFormat", "annotations.list.textFormat"}
"""Fields of an annotation that belong to its data source, so that the schema does not have them."""


def mistakes(document: Mapping[str, Any]) -> list[str]:
    """Return the deviations of a dashboard from the schema."""
    model = Dashboard.from_json(dict(document))
    written = json.loads(JSONEncoder(sort_keys=True).encode(model))
    return [*lost(document, written), *mistyped(model, "dashboard")]


def lost(given: Any, written: Any, path: str = "") -> Iterator[str]:
    """Yield the values that the schema does not have. Defaults may be added, so only what was given is compared."""
    match given, written:
        case {}, {}:
            for name, value in given.items():
                place = f"{path}.{name}".strip(".")
                if name in written:
                    yield from lost(value, written[name], place)
                elif place not in OF_PROMETHEUS:
                    yield f"{place}: unknown"
        case [*_], [*_] if len(given) == len(written):
            for one, other in zip(given, written, strict=True):
                yield from lost(one, other, path)
        case _ if given != written:
            yield f"{path}: {given!r} became {written!r}"


def mistyped(value: Any, path: str) -> Iterator[str]:
    """Yield the attributes whose values have other types than the declared ones."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from mistyped(part, f"{path}.{name}")
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for part in value:
            yield from mistyped(part, path)
    elif type(value).__module__.startswith("grafana_foundation_sdk.models") and not isinstance(value, Enum):
        for name, check in checks_of(type(value)).items():
            part = getattr(value, name)
            try:
                check.validate_python(part)
            except ValidationError as error:
                yield f"{path}.{name}: {error.errors()[0]['msg']}"
            yield from mistyped(part, f"{path}.{name}")


@cache
def checks_of(model: type) -> dict[str, TypeAdapter[Any]]:
    """Return a check for each attribute. An enumeration accepts the text of its members, as in JSON."""
    configuration = ConfigDict(arbitrary_types_allowed=True, coerce_numbers_to_str=False)
    return {name: TypeAdapter(hint, config=configuration) for name, hint in get_type_hints(model).items()}


def test_the_schema_is_of_the_version_that_runs() -> None:
    compose = yaml.safe_load((GRAFANA.parent / "compose.yaml").read_text())
    installed = importlib.metadata.version("grafana-foundation-sdk")
    assert compose["services"]["grafana"]["image"] == f"grafana/grafana:{installed.partition('!')[2]}"


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_dashboard_follows_the_schema(file: Path) -> None:
    assert mistakes(json.loads(file.read_text())) == []


@pytest.mark.parametrize(
    ("place", "wrong"),
    [
        (["titel"], "a name that the schema does not have"),
        (["panels", 4, "options", "legend", "placing"], "bottom"),
        (["panels", 4, "options", "legend", "displayMode"], "sideways"),
        (["panels", 4, "gridPos", "w"], "wide"),
        (["panels", 4, "targets", 0, "expr"], 5),
        (["panels", 4, "targets", 0, "expression"], "up"),
        (["panels", 4, "fieldConfig", "defaults", "custom", "lineInterpolation"], "zigzag"),
        (["templating", "list", 0, "type"], "query of another kind"),
    ],
    ids=lambda part: ".".join(map(str, part)) if isinstance(part, list) else None,
)
def test_a_deviation_from_the_schema_is_found(place: list[Any], wrong: object) -> None:
    document = json.loads((GRAFANA / "dashboards" / "flow.json").read_text())
    assert mistakes(document) == []
    spoiled = copy.deepcopy(document)
    inner: Any = spoiled
    for part in place[:-1]:
        inner = inner[part]
    inner[place[-1]] = wrong
    assert mistakes(spoiled) != []
