"""Times as an operator writes them."""

from datetime import UTC, datetime, timedelta

import pytest

from eventflow.errors import InvalidInputError
from eventflow.event import utc_now
from eventflow.operations.moments import moment_of


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-28", datetime(2026, 11, 28, tzinfo=UTC)),
        ("2026-11-28T02:00", datetime(2026, 11, 28, 2, tzinfo=UTC)),
        ("2026-11-28T02:00Z", datetime(2026, 11, 28, 2, tzinfo=UTC)),
        ("2026-11-28 02:00:03", datetime(2026, 11, 28, 2, 0, 3, tzinfo=UTC)),
        ("2026-11-28T02:00:00+01:00", datetime(2026, 11, 28, 1, tzinfo=UTC)),
        ("2026-11-28T02:00:00.123Z", datetime(2026, 11, 28, 2, 0, 0, 123_000, tzinfo=UTC)),
    ],
)
def test_times_without_a_zone_are_utc(text: str, moment: datetime) -> None:
    assert moment_of(text) == moment


@pytest.mark.parametrize(
    ("text", "ago"), [("90s", timedelta(seconds=90)), ("30m", timedelta(minutes=30)), ("2d", timedelta(days=2))]
)
def test_a_duration_is_a_time_ago(text: str, ago: timedelta) -> None:
    assert abs(utc_now() - ago - moment_of(text)) < timedelta(seconds=5)


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-13-01", "2026-11-28T25:00", "5 m", "1y", "999999d", "2026-11-28T02"]
)
def test_anything_else_is_no_time(text: str) -> None:
    with pytest.raises(InvalidInputError, match="2026-11-28T02:00"):
        moment_of(text)
