"""The description of the HTTP interface: valid, and as exact as it says."""

import json

from openapi_spec_validator import OpenAPIV31SpecValidator

from eventflow_collector.openapi import document
from eventflow_collector.responses import problem


def test_it_is_valid_openapi_3_1() -> None:
    described = document()
    assert described["openapi"].startswith("3.1.")
    assert list(OpenAPIV31SpecValidator(described).iter_errors()) == []


def test_problems_are_what_it_says() -> None:
    described = document()["components"]
    for status, response in described["responses"].items():
        answer = problem(int(status), "why")
        assert set(json.loads(answer.body)) == set(described["schemas"]["Problem"]["required"])
        for name, header in response.get("headers", {}).items():
            assert header["required"]
            assert name in answer.headers
