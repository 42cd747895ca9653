"""The description of the API."""

from openapi_spec_validator import OpenAPIV31SpecValidator

from eventflow_console.api.openapi import document


def test_the_description_is_valid():
    OpenAPIV31SpecValidator(document()).validate()


def test_no_schema_and_no_parameter_is_left_over():
    text = str(document())
    for kind in ("schemas", "parameters", "responses"):
        for name in document()["components"][kind]:
            assert f"#/components/{kind}/{name}'" in text or name in {"Attempt", "DeadLetter"}, name
