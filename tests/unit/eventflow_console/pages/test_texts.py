"""Texts from outside on a page."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventflow_console.pages.texts import BODY_MAX_CHARACTERS, Form, line, printable, shown

BIDI = "invoice\u202egnp.exe"


def test_marks_of_direction_and_control_characters_become_visible() -> None:
    assert line(f"{BIDI}\x00\x1b[31m\u200b\n") == r"invoice\u202egnp.exe\x00\x1b[31m\u200b\n"


def test_a_long_line_is_cut() -> None:
    assert line("x" * 1_000_000, 10) == "xxxxxxx..."
    assert line("\x00" * 10, 11) == r"\x00\x00..."


@given(st.text(alphabet=st.characters(codec=None)))
def test_every_line_is_printable_and_bounded(text: str) -> None:
    found = line(text, 50)
    assert len(found) <= 50
    assert not found or found.isprintable()


def test_line_ends_and_our_own_space_between_thousands_stay() -> None:
    assert printable("1\u202f240\n\tevents\r") == "1\u202f240\n\tevents\\r"


def test_json_is_indented_and_keeps_numbers_and_repeated_names_as_they_were_sent() -> None:
    body = b'{"id":12345678901234567890.10,"a":[],"a":{"b":[1,{"c":"x,\\"y\\": {z}"}]},"e":1e400}'
    found = shown(body)
    assert found.form is Form.JSON
    assert found.text == (
        '{\n  "id": 12345678901234567890.10,\n  "a": [],\n  "a": {\n    "b": [\n      1,\n      {\n'
        '        "c": "x,\\"y\\": {z}"\n      }\n    ]\n  },\n  "e": 1e400\n}'
    )
    assert json.loads(found.text) == json.loads(body)
    assert not found.is_cut


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)
    )
)
def test_indented_json_is_the_same_document(value: object) -> None:
    document = {"value": value}
    found = shown(json.dumps(document).encode(), limit=1_000_000)
    assert json.loads(found.text) == document


def test_marks_of_direction_in_json_become_visible() -> None:
    found = shown(json.dumps({"name": BIDI}, ensure_ascii=False).encode())
    assert found.text == '{\n  "name": "invoice\\u202egnp.exe"\n}'


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 900 + b"0," * 200_000 + b"0" + b"]" * 900,
        b"[" * 100_000,
        b'{"a":"' + b"x" * 1_000_000 + b'"}',
        b"x" * 5_000_000,
        b"\x00" * 5_000_000,
        b'["' + "\u202e".encode() * 300_000 + b'"]',
        b"[" + b"9" * 100_000 + b"]",
    ],
    ids=["deep and wide", "too deep", "one long string", "one long line", "zeros", "marks", "a long number"],
)
@pytest.mark.timeout(5)
def test_a_hostile_body_is_bounded(body: bytes) -> None:
    found = shown(body)
    assert found.is_cut
    assert 0 < len(found.text) <= BODY_MAX_CHARACTERS


def test_bytes_that_are_no_text_are_shown_in_hex() -> None:
    found = shown(b"\x00\xff<script>")
    assert found.form is Form.HEX
    assert found.text == f"0000  {'00 ff 3c 73 63 72 69 70 74 3e':<47}  ..<script>"


def test_an_answer_that_was_cut_within_a_character_is_text() -> None:
    found = shown("größe".encode()[:4], total_bytes=7)
    assert (found.form, found.text, found.is_cut) == (Form.TEXT, "gr\u00f6", True)
    assert shown("größe".encode()[:3]).form is Form.HEX


def test_a_json_answer_that_was_cut_is_text() -> None:
    assert shown(b'{"error":"line_items', total_bytes=900).form is Form.TEXT


@pytest.mark.parametrize("body", [b"", b" \r\n"])
def test_an_empty_body_is_named_so(body: bytes) -> None:
    assert shown(body).form is Form.EMPTY
