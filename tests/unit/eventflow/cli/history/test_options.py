"""The options that select attempts."""

from datetime import timedelta
from typing import Any

import pytest
import typer

from eventflow.cli.history.options import cursor_in, filter_of
from eventflow.event import format_time, utc_now
from eventflow.history.filters import RANGE_MAX, AttemptFilter


def selected(**options: Any) -> AttemptFilter:
    usual: dict[str, Any] = dict.fromkeys(("outcome", "reason", "status", "event_type", "since", "until"))
    return filter_of("default", **usual | options)


def test_without_options_every_attempt_of_the_flow_is_selected() -> None:
    assert selected() == AttemptFilter(flow="default")


@pytest.mark.parametrize("since", ["24h", "1d", "2h", "0s"])
def test_a_range_from_the_last_day_until_now_is_short_enough_for_each_condition(since: str) -> None:
    selection = selected(outcome="delivered", event_type="order.paid", since=since)
    assert selection.until is not None
    assert selection.until > utc_now() - timedelta(minutes=1)


def test_a_longer_range_stays_open() -> None:
    assert selected(since="3d").until is None


def test_both_ends_of_a_range_are_kept() -> None:
    selection = selected(since="2026-01-01", until="2026-01-02", status=200)
    assert (selection.since, selection.until) == (selection.until - RANGE_MAX, selection.until)


@pytest.mark.parametrize("options", [{"status": 422}, {"outcome": "delivered"}, {"event_type": "a", "since": "25h"}])
def test_an_unbounded_selection_is_wrong_usage_with_a_remedy(options: dict[str, Any]) -> None:
    with pytest.raises(typer.BadParameter, match="set the outcome to `failures`, or give both ends"):
        selected(**options)


@pytest.mark.parametrize(
    "options", [{"outcome": "x"}, {"reason": "x"}, {"since": "x"}, {"until": format_time(utc_now())[:4]}]
)
def test_an_unknown_word_is_wrong_usage(options: dict[str, Any]) -> None:
    with pytest.raises(typer.BadParameter):
        selected(**options)


def test_a_malformed_cursor_is_wrong_usage() -> None:
    assert cursor_in(None) is None
    with pytest.raises(typer.BadParameter, match="malformed"):
        cursor_in("x")
