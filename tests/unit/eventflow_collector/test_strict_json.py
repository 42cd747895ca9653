"""JSON that is parsed within bounds."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventflow.errors import InvalidEventError
from eventflow_collector import strict_json
from tests.unit.eventflow_collector.intake.values import values

DEEPEST = b"[" * strict_json.MAX_DEPTH + b"]" * strict_json.MAX_DEPTH


def test_a_byte_order_mark_in_front_is_ignored() -> None:
    assert strict_json.parse(b"\xef\xbb\xbf 1") == 1
    assert [part for _, part in strict_json.elements(b"\xef\xbb\xbf[1, 2]")] == [b"1", b"2"]


@pytest.mark.parametrize(
    "body",
    [
        b"NaN",
        b"[-Infinity]",
        b'"\\ud800"',
        b'{"\\uDC00": 1}',
        b'"\xed\xa0\x80"',
        b'"\xff"',
        b"\xef\xbb\xbf\xef\xbb\xbf1",
        b"1\xef\xbb\xbf",
        "1".encode("utf-16"),
        b"1" * 5000,
        b"[" + DEEPEST + b"]",
        b'{"a":' * 65 + b"1" + b"}" * 65,
        b"[" * 100_000,
        b'[{"a":' * 100_000,
        b"",
        b"1 2",
        b"'a'",
        b'"a\nb"',
    ],
)
def test_json_beyond_the_bounds_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidEventError):
        strict_json.parse(body)


@pytest.mark.parametrize(
    "body", [DEEPEST, b'["[[[' + b"[" * 200 + b'"]', b"[" + b"[]," * 200 + b"[]]", b'"\\ud83d\\ude00"', b" null "]
)
def test_json_within_the_bounds_is_taken(body: bytes) -> None:
    assert strict_json.parse(body) == json.loads(body)


@given(st.lists(values, max_size=5), st.sampled_from([None, 2]), st.booleans())
def test_elements_are_what_was_written(wanted: list, indent: int | None, ascii_only: bool) -> None:
    body = json.dumps(wanted, indent=indent, ensure_ascii=ascii_only).encode()
    found = list(strict_json.elements(body))
    assert [value for value, _ in found] == wanted
    assert [json.loads(part) for _, part in found] == wanted
    assert all(part in body for _, part in found)
