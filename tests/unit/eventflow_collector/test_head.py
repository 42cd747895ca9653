"""Heads of requests: the parameters in their queries."""

import pytest
from multidict import CIMultiDict

from eventflow_collector.head import Head


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("", None),
        ("other=1", None),
        ("batch", ""),
        ("batch=", ""),
        ("batch=1", "1"),
        ("a=2&batch=1&batch=2", "1"),
        ("batch=a%2Bb+c%C3%BC", "a+b c\u00fc"),
        ("batch=%ff%", "\udcff%"),
        ("%62atch=1", "1"),
    ],
)
def test_a_parameter_is_decoded_and_the_first_of_its_name(query: str, value: str | None) -> None:
    assert Head("POST", "f", "", query, CIMultiDict()).parameter("batch") == value
