"""The chart of a flow."""

import math
import re
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest

from eventflow.history.records import FlowMinute, Gap, MinuteCount, MinuteKey
from eventflow_console.pages.charts import Chart, chart_of, durations_of
from eventflow_console.past import MINUTE, Past, Span

NOW = datetime(2026, 11, 29, 3, 12, 40, tzinfo=UTC)


def counted(minutes_ago: int, attempts: int = 60, outcome: str = "delivered", bucket: int = 4) -> MinuteCount:
    minute = int(NOW.timestamp()) // 60 - minutes_ago
    return MinuteCount(
        key=MinuteKey(minute=minute, flow="orders", outcome=outcome, reason="", status=200, bucket=bucket),
        attempts=attempts,
        duration_us=0,
    )


def paths(chart: Chart, kind: str) -> list[str]:
    root = ElementTree.fromstring(str(chart.svg))
    drawn = (path.attrib["d"] for path in root if path.attrib["class"] == kind)
    return [f"M{part}" for path in drawn for part in path.split("M")[1:]]


@pytest.mark.parametrize("span", Span)
def test_steps_begin_at_multiples_of_their_length_and_contain_the_present_minute(span: Span) -> None:
    chart = chart_of(Past(), span, NOW)
    length = timedelta(minutes=span.step_minutes)
    assert all((step.start - datetime(1970, 1, 1, tzinfo=UTC)) % length == timedelta() for step in chart.steps)
    assert chart.steps[0].start == span.since(NOW)
    assert chart.steps[-1].start <= span.until(NOW) - MINUTE < chart.steps[-1].start + length
    assert chart.ticks[-1] == chart.steps[-1].start + length


def test_an_unknown_word_is_the_hour() -> None:
    assert [Span.of(word) for word in ("24h", "7d", "nonsense", None)] == [Span.DAY, Span.WEEK, Span.HOUR, Span.HOUR]


def test_attempts_are_counted_by_result_in_their_step() -> None:
    counts = [
        counted(1),
        counted(1, 3, "retry"),
        counted(1, 1, "dead"),
        counted(1, 1, "lost"),
        counted(1, 7, "hold"),
        counted(1, 2, "defer"),
        counted(0, 99),
        counted(61, 99),
    ]
    chart = chart_of(Past(counts=counts), Span.HOUR, NOW)
    minute, present = chart.steps[-2:]
    assert (minute.delivered, minute.failed, minute.deferred) == (60, 5, 9)
    assert (present.delivered, present.is_open, minute.is_open) == (99, True, False)
    assert (chart.total("delivered"), chart.total("failed"), chart.total("accepted")) == (159, 5, None)


def test_a_step_of_many_minutes_is_shown_by_the_minute() -> None:
    week = chart_of(Past(counts=[counted(300, attempts=1800)]), Span.WEEK, NOW)
    assert max(step.per_minute(step.delivered) or 0 for step in week.steps) == 10
    # Of the last step, from 03:00 on, 13 minutes have begun.
    assert (week.steps[-1].minutes, week.steps[-2].minutes) == (13, 180)


def test_without_a_store_attempts_are_unknown_and_no_line_is_drawn() -> None:
    accepted = [FlowMinute(flow="orders", at=NOW.replace(second=0) - MINUTE, accepted=5)]
    chart = chart_of(Past(backlog=accepted), Span.HOUR, NOW)
    assert chart.total("delivered") is None
    assert chart.total("accepted") == 5
    assert not paths(chart, "line delivered")
    assert len(paths(chart, "line accepted")) == 1


def test_before_the_record_attempts_are_unknown_and_after_it_zero() -> None:
    minute = FlowMinute(flow="orders", at=NOW.replace(second=0) - 10 * MINUTE)
    chart = chart_of(Past(counts=[], backlog=[minute]), Span.HOUR, NOW)
    assert [step.delivered for step in chart.steps] == [None] * 49 + [0] * 11


def test_a_gap_interrupts_the_line_and_its_attempts_are_counted_once() -> None:
    gap = Gap(
        writer="w",
        flow="orders",
        since=NOW - 30 * MINUTE,
        until=NOW - 28 * MINUTE,
        attempts=1240,
        reason="buffer_full",
    )
    chart = chart_of(Past(counts=[counted(40), counted(20)], gaps=[gap]), Span.HOUR, NOW)
    assert chart.total("missing") == 1240
    assert len(paths(chart, "gap")) == 3
    assert len(paths(chart, "line delivered")) == 2


def test_a_gap_that_began_before_the_chart_is_counted() -> None:
    gap = Gap(writer="w", flow="orders", since=NOW - 90 * MINUTE, until=NOW, attempts=7, reason="buffer_full")
    assert chart_of(Past(counts=[], gaps=[gap]), Span.HOUR, NOW).total("missing") == 7


@pytest.mark.parametrize(
    ("highest", "ceiling"), [(0, 2), (1, 1), (3, 4), (60, 60), (61, 80), (1001, 2000), (7_654_321, 8_000_000)]
)
def test_the_ceiling_is_a_round_number_above_all_values(highest: int, ceiling: float) -> None:
    assert chart_of(Past(counts=[counted(1, highest)]), Span.HOUR, NOW).ceiling == pytest.approx(ceiling)


def test_bars_stand_on_each_other() -> None:
    chart = chart_of(Past(counts=[counted(1, 40, "retry"), counted(1, 20, "hold"), counted(2, 100)]), Span.HOUR, NOW)
    assert paths(chart, "bar failed") == ["M58.15 100.0V60.0h0.7V100.0z"]
    assert paths(chart, "bar deferred") == ["M58.15 60.0V40.0h0.7V60.0z"]


def test_the_present_minute_is_a_bar_and_no_fall_of_the_line() -> None:
    chart = chart_of(Past(counts=[counted(1, 100), counted(0, 20)]), Span.HOUR, NOW)
    assert paths(chart, "bar open") == ["M59 100.0V80.0h1V100.0z"]
    assert paths(chart, "line delivered") == ["M58 0L58.5 0L59 0"]


def test_the_svg_has_numbers_and_our_own_words_only() -> None:
    hostile = MinuteCount(
        key=MinuteKey(
            minute=int(NOW.timestamp()) // 60 - 1, flow="<x>", outcome="<b>", reason='"', status=1, bucket=9999
        ),
        attempts=3,
        duration_us=1,
    )
    assert re.fullmatch(r"[\w\s<>=\"/.-]+", str(chart_of(Past(counts=[hostile]), Span.HOUR, NOW).svg))


def test_durations_are_the_bounds_of_buckets() -> None:
    assert durations_of([]) == (None, None)
    assert durations_of([counted(1, 94, bucket=4), counted(1, 6, bucket=7)]) == (0.025, 0.25)
    assert durations_of([counted(1, 1, bucket=12)]) == (math.inf, math.inf)
