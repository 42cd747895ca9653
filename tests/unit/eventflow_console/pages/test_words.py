"""Numbers, durations and times in words."""

import math
from datetime import UTC, datetime, timedelta

import pytest

from eventflow_console.pages import words

NOW = datetime(2026, 11, 29, 3, 12, 4, tzinfo=UTC)


@pytest.mark.parametrize(("value", "shown"), [(None, "-"), (0, "0"), (999, "999"), (1240, "1\u202f240"), (9.6, "10")])
def test_a_number_has_separated_thousands_and_an_unknown_one_is_a_dash(value: float | None, shown: str) -> None:
    assert words.number(value) == shown


@pytest.mark.parametrize(
    ("per_s", "shown"),
    [
        (None, "-"),
        (math.inf, "unlimited"),
        (0, "0/s"),
        (12.44, "12.4/s"),
        (62, "62/s"),
        (1.5, "1.5/s"),
        (1240.2, "1\u202f240/s"),
        (0.31, "18.6/min"),
        (0.001, "3.6/h"),
        (0.0001, "8.64/day"),
    ],
)
def test_a_rate_has_a_unit_in_which_it_is_at_least_one(per_s: float | None, shown: str) -> None:
    assert words.rate(per_s) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "-"),
        (math.inf, "never"),
        (-1, "0 ms"),
        (0.0019, "1.9 ms"),
        (0.0424, "42 ms"),
        (0.9994, "999 ms"),
        (0.9999, "1 s"),
        (1.46, "1.46 s"),
        (38.2, "38.2 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7200, "2 h"),
        (172_800, "2 days"),
    ],
)
def test_a_duration_has_the_unit_that_fits(seconds: float | None, shown: str) -> None:
    assert words.duration(seconds) == shown


def test_a_size_has_the_unit_that_fits() -> None:
    assert [words.size(size) for size in (None, 1, 812, 1200, 3_400_000, 2_000_000_000)] == [
        "-",
        "1 byte",
        "812 bytes",
        "1.2 kB",
        "3.4 MB",
        "2 GB",
    ]


def test_a_part_of_nothing_or_of_everything_is_unknown() -> None:
    assert words.percent(41.8, 50) == "84 %"
    assert [words.percent(*pair) for pair in ((None, 1), (1, None), (1, 0), (1, math.inf))] == ["-"] * 4


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.4, "now"), (-90.2, "90 s ago"), (-1.9, "1 s ago"), (29.2, "in 30 s"), (-7300, "2 h ago")]
)
def test_a_time_has_its_distance_from_now(seconds: float, shown: str) -> None:
    assert words.ago(NOW + timedelta(seconds=seconds), NOW) == shown


def test_a_time_of_another_day_has_its_date() -> None:
    moments = (NOW, NOW - timedelta(days=1), NOW - timedelta(days=400))
    assert [words.clock(moment, NOW) for moment in moments] == ["03:12:04", "28 Nov 03:12:04", "2025-10-25 03:12:04"]


def test_a_noun_agrees_with_its_number() -> None:
    assert words.counted(1, "event") == "1 event"
    assert words.counted(0, "process", "processes") == "0 processes"
