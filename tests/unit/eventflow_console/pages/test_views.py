"""The judgements behind the pages."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from eventflow.control.messages import InHand, Known, LastAttempt
from eventflow.operations.dead.selection import Selection
from eventflow.operations.status.standing import Standing
from eventflow_console.pages.addresses import address
from eventflow_console.pages.views.attempts import ANSWER_CHARACTERS, rows_of
from eventflow_console.pages.views.dead import conditions_of, fields_of, groups_of
from eventflow_console.pages.views.event import body_of, event_view
from eventflow_console.pages.views.flow import FlowView
from eventflow_console.present import FlowState, ProcessorState, RateState, TargetState
from tests.support.history import NOON, attempt

NOW = datetime(2026, 11, 29, 3, 12, 4, tzinfo=UTC)


def test_an_attempt_waits_since_the_acceptance_or_since_the_end_of_the_one_before() -> None:
    first = attempt(outcome="retry", duration_us=2_000_000)
    second = attempt(started_at=NOON + timedelta(seconds=32), attempt=2)
    steps = event_view("order-1", "default", attempts=[first, second]).steps
    assert steps is not None
    assert [step.wait_s for step in steps] == [1, 30]


def test_a_wait_is_never_negative_although_clocks_differ() -> None:
    steps = event_view("order-1", "default", attempts=[attempt(accepted_at=NOON + timedelta(seconds=9))]).steps
    assert steps is not None
    assert steps[0].wait_s == 0


@pytest.mark.parametrize("lost", [{"outcome": "lost", "settled": False}, {"outcome": "retry", "settled": False}])
def test_a_lost_delivery_explains_a_repeat(lost: dict[str, object]) -> None:
    view = event_view("order-1", "default", attempts=[attempt(**lost)])
    assert view.steps is not None
    assert "The target may have received it twice" in view.steps[0].meaning


def test_an_event_that_was_accepted_twice_has_duplicates() -> None:
    once, twice = [attempt()], [attempt(), attempt()]
    assert not event_view("order-1", "default", attempts=once).has_duplicates
    assert event_view("order-1", "default", attempts=twice).has_duplicates


@pytest.mark.parametrize("trace_id", ["", "x" * 32, '"><script>', "4bf92f3577b34da6a3ce929d0e0e4736/.."])
def test_only_an_id_of_a_trace_becomes_a_link(trace_id: str) -> None:
    view = event_view("1", "a", attempts=[attempt(trace_id=trace_id)], trace_url="http://traces/{trace_id}")
    assert view.steps is not None
    assert view.steps[0].trace is None


def test_the_memory_of_a_processor_is_shown_only_without_a_record() -> None:
    known = Known(
        event_id="order-1",
        last=LastAttempt(outcome="delivered", attempt=1, ago_s=3),
        in_hand=InHand(state="waiting", lane="due", attempt=2, here_s=1),
    )
    recorded = event_view("order-1", "default", attempts=[attempt()], answers={"p": known})
    assert (len(recorded.now), len(recorded.remembered)) == (1, 0)
    unrecorded = event_view("order-1", "default", attempts=None, answers={"p": known})
    assert (len(unrecorded.now), len(unrecorded.remembered)) == (1, 1)


def test_nothing_found_is_not_known() -> None:
    assert not event_view("order-1", "default", attempts=[], answers={"p": Known(event_id="order-1")}).is_known


def test_the_body_of_a_letter_is_text_or_base64_or_unusable() -> None:
    assert body_of({"body": "größe"}) == "größe".encode()
    assert body_of({"body_base64": "AP8="}) == b"\x00\xff"
    assert body_of({"body_base64": "!"}) == b""
    assert body_of({}) == b""


def test_a_row_has_the_beginning_of_the_answer_or_else_the_error() -> None:
    rows = rows_of([attempt(answer=b"x" * 9999), attempt(text="Connection refused"), attempt(answer=b"", text="e")])
    assert [len(rows[0].words), rows[1].words, rows[2].words] == [ANSWER_CHARACTERS + 1, "Connection refused", "e"]


def test_the_used_part_of_the_quota_counts_units() -> None:
    state = FlowState(flow="a", departure_per_s=20, rate=RateState(configured_per_s=100, now_per_s=100, cost=2))
    assert (FlowView(state).used_per_s, FlowView(state).used_part) == (40, 0.4)
    assert FlowView(replace(state, rate=RateState())).used_part is None
    assert FlowView(FlowState(flow="a")).used_part is None


def test_several_causes_are_named_together() -> None:
    state = FlowState(
        flow="a",
        standing=Standing.PAUSED,
        is_paused=True,
        paused_by="ada",
        target=TargetState(state="blocked", status=401),
        throttled_until=NOW,
        processors=(ProcessorState(name="p", instance="p", blocked_by="KeyError"),),
        losses=("queues vanished",),
    )
    assert [cause.title for cause in FlowView(state).causes] == [
        "Paused",
        "The target refuses every event with HTTP 401",
        "Internal errors",
        "The target asked to wait",
        "Events may be lost",
    ]


def test_silent_processors_are_counted_as_not_ready() -> None:
    ready = ProcessorState(name="p", instance="p", is_ready=True)
    assert FlowView(FlowState(flow="a", processors=(ready,), silent=1)).processors == "1 of 2 ready"
    assert FlowView(FlowState(flow="a", standing=Standing.NO_PROCESSOR)).processors == "none"
    assert FlowView(FlowState(flow="a")).processors == "-"


def test_waiting_events_are_a_lower_bound_if_the_held_ones_are_unknown() -> None:
    assert FlowView(FlowState(flow="a", live=3, due=1, replay=None)).waiting_at_least == 4
    assert FlowView(FlowState(flow="a", live=3, waiting=5)).waiting_at_least is None
    assert FlowView(FlowState(flow="a")).waiting_at_least is None


def test_groups_narrow_the_filter_of_the_page() -> None:
    letter = {
        "reason": "client_error",
        "type": "paid",
        "last_status": 422,
        "last_failed_at": "2026-11-29T02:17:00.000Z",
    }
    groups = {name: found[0] for name, found in groups_of([letter, letter], {"flow": "a", "type": "paid"}, NOW)}
    assert list(groups) == ["By reason", "By status", "By type", "By hour"]
    assert groups["By status"].address == "/dead?flow=a&type=paid&status=422"
    assert groups["By hour"].label == "02:00 to 03:00"
    assert "since=2026-11-29T02%3A00%3A00.000Z" in groups["By hour"].address
    assert groups["By reason"].count == 2


def test_a_selection_is_passed_on_with_absolute_times() -> None:
    selection = Selection(statuses=frozenset({422}), since=NOW, ids=frozenset({"b", "a"}))
    assert fields_of("orders", selection) == [
        ("flow", "orders"),
        ("status", 422),
        ("since", "2026-11-29T03:12:04.000Z"),
        ("id", "a"),
        ("id", "b"),
    ]
    assert conditions_of(Selection()) == [("Which", "all dead letters of the flow")]


def test_an_address_leaves_out_what_is_empty_and_escapes_the_rest() -> None:
    assert address("/dead", flow="a", type="", status=None, reason="ü&x") == "/dead?flow=a&reason=%C3%BC%26x"
    assert address("/") == "/"
