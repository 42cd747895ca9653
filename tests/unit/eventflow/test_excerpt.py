"""Excerpts of texts from outside."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventflow.excerpt import EXCERPT_MAX_BYTES, excerpt_of, is_excerpt


@given(st.binary(max_size=2 * EXCERPT_MAX_BYTES) | st.text(max_size=2 * EXCERPT_MAX_BYTES))
def test_an_excerpt_is_one_short_printable_line(content: bytes | str) -> None:
    excerpt = excerpt_of(content)
    assert excerpt is None or is_excerpt(excerpt)


@pytest.mark.parametrize(
    ("content", "excerpt"),
    [
        (b"", None),
        (b" \r\n\t", None),
        (b'{"errors": "n"}\n', '{"errors": "n"}'),
        (b"two\nlines\x1b[31m", r"two\nlines\x1b[31m"),
        ("a\u202eb\ud800c", r"a\u202eb\ud800c"),
        ("\u00fcber\u00dfchten".encode(), "über\u00dfchten"),
        (b"\xff\xfe", r"\xff\xfe"),
    ],
)
def test_control_characters_are_escaped(content: bytes | str, excerpt: str | None) -> None:
    assert excerpt_of(content) == excerpt


def test_a_long_text_is_cut_visibly_and_no_character_is_cut_in_half() -> None:
    assert excerpt_of(b"a" * EXCERPT_MAX_BYTES + b"b") == "a" * (EXCERPT_MAX_BYTES - 3) + "..."
    long = excerpt_of(b"a" + "\u20ac".encode() * EXCERPT_MAX_BYTES)
    assert long is not None
    assert long.startswith("a\u20ac")
    assert set(long) == set("a\u20ac.")
