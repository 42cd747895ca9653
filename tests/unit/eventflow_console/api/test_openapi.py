"""The description of the API."""

from openapi_spec_validator import OpenAPIV31SpecValidator

from eventflow_console.api.openapi import OPERATIONS, PREFIX, document
from eventflow_console.api.routes import routes


def test_it_is_valid():
    OpenAPIV31SpecValidator(document()).validate()


def test_every_route_is_described_and_every_description_has_a_route():
    described = {(operation.method.upper(), PREFIX + operation.path) for operation in OPERATIONS}
    assert described == {(route.method, route.path) for route in routes()}


def test_no_schema_and_no_parameter_is_left_over():
    text = str(document())
    for kind in ("schemas", "parameters", "responses"):
        for name in document()["components"][kind]:
            assert f"#/components/{kind}/{name}'" in text or name == "Attempt", name
