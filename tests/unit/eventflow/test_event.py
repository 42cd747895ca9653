"""Times of RFC 3339, and texts that can be attributes."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventflow.event import is_valid_attribute, is_valid_text, parse_time


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02t03:04:05z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02 03:04:05.6789z", datetime(2026, 1, 2, 3, 4, 5, 678_900, tzinfo=UTC)),
        ("2026-01-02t05:04:05+02:00", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("1990-12-31T23:59:60Z", datetime(1990, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
        ("1990-12-31T15:59:60.25-08:00", datetime(1990, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
        ("9999-12-31t23:59:60z", datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
        ("1990-12-31T22:59:60Z", None),
        ("1990-12-31T23:59:61Z", None),
        ("1990-12-31T15:59:60Z", None),
        ("1990-12-31T23:60:00Z", None),
        ("1990-13-31T23:59:60Z", None),
        ("9999-12-31T23:59:60-14:00", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("2026-01-02", None),
        ("2026-01-02T03:04:05", None),
    ],
)
def test_times_are_those_of_rfc_3339_with_small_letters_and_leap_seconds(text: str, moment: datetime | None) -> None:
    assert parse_time(text) == moment


@given(
    st.from_regex(
        r"[0-9]{4}-[01][0-9]-[0-3][0-9][Tt][012][0-9]:[0-6][0-9]:[0-6][0-9](Z|z|[+-][012][0-9]:00)", fullmatch=True
    )
)
def test_any_text_in_the_form_of_a_time_is_one_or_none(text: str) -> None:
    moment = parse_time(text)
    assert moment is None or moment.tzinfo is UTC


def test_texts_may_be_longer_than_ids_and_have_any_space() -> None:
    for text in ("x" * 256, "x" * 4096, "ü" * 2048, "a\u202fb", "\u200d"):
        assert is_valid_text(text)
        assert not is_valid_attribute(text)
    for text in ("", " ", "\u00a0", "x" * 4097, "ü" * 2049, "a\x7fb", "a\x85b", "a\nb", "\ud800"):
        assert not is_valid_text(text)
