"""Every template, with usual values and with hostile ones."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from eventflow.control.messages import InHand, Known, LastAttempt
from eventflow.control.reports import FailureCause
from eventflow.history.records import Action, FlowMinute, Gap, MinuteCount, MinuteKey
from eventflow.operations.dead.selection import Selection
from eventflow.operations.status.flow import RetryStatus
from eventflow.operations.status.standing import Standing
from eventflow_console.dead_letters import DeadCount
from eventflow_console.jobs import Job
from eventflow_console.pages.assets import ASSETS
from eventflow_console.pages.attempts import Refusal
from eventflow_console.pages.charts import chart_of
from eventflow_console.pages.operating import question_of
from eventflow_console.pages.rendering import render
from eventflow_console.pages.views.attempts import rows_of
from eventflow_console.pages.views.dead import conditions_of, fields_of, groups_of, letter_rows
from eventflow_console.pages.views.event import event_view
from eventflow_console.pages.views.flow import FlowView
from eventflow_console.pages.views.frame import Frame, Notice
from eventflow_console.past import MINUTE, Past, Span
from eventflow_console.present import (
    CollectorState,
    FlowState,
    ProcessorState,
    RateState,
    SpoolState,
    TargetState,
)
from tests.support.history import attempt
from tests.support.html_pages import Page

NOW = datetime(2026, 11, 29, 3, 12, 4, tzinfo=UTC)
USUAL = "orders"
HOSTILE = (
    "\"><img src=x onerror=alert(1)></textarea><script>alert(2)</script>'{{ 7 * 191 }}{% raw %}&amp;&#x202e;"
    "javascript:alert(3)\u202egnp.exe\u2066\u200b\ufeff\x00\x1b[31m\r\x85\u2028"
)
LONG = "x" * 1_000_000
WEIGHT_MAX_BYTES = 60_000

Texts = Callable[[str], Mapping[str, Any]]
"""Returns the values of a template, with a text in every place for one."""


def frame(text: str) -> Frame:
    notice = Notice(tone="bad", title=text, since=NOW, detail=text, remedy="Wait.")
    return Frame(nav="flows", user=text, notices=[notice])


def state(text: str) -> FlowState:
    failure = FailureCause(reason=text, status=503, detail=text, text=text)
    return FlowState(
        flow=text,
        standing=Standing.DOWN,
        is_paused=True,
        paused_at=NOW,
        paused_by=text,
        live=34_120,
        due=41,
        replay=0,
        retries=(RetryStatus(delay_s=30, events=12, configured=True),),
        dead=37,
        held=24,
        in_flight=8,
        waiting=34_185,
        oldest_s=812,
        in_per_s=62.4,
        departure_per_s=41.8,
        eta=text,
        rate=RateState(configured_per_s=50, ordered_per_s=40, now_per_s=40, cost=2),
        target=TargetState(state=text, status=503, since=NOW, failure=failure),
        throttled_until=NOW,
        spool=SpoolState(events=3, set_aside=1, size_bytes=1, oldest_s=2, failing=True),
        processors=(
            ProcessorState(name=text, instance=text, is_ready=True, share_per_s=20, blocked_by=text),
            ProcessorState(name=text, instance=text, obstacles=(text,)),
        ),
        collectors=(CollectorState(name=text, instance=text, is_ready=True),),
        losses=(text,),
    )


def records(text: str) -> list[Any]:
    answer = text.encode(errors="replace")
    usual = {"event_id": text, "flow": text, "type": text, "source": text, "subject": text, "writer": text}
    failed = {"outcome": "retry", "status": 422, "reason": text, "detail": text, "text": text, "lane": text}
    return [
        attempt(**usual, **failed, answer=answer, answer_type=text, answer_bytes=len(answer), next_at=NOW),
        attempt(**usual, **failed, trace_id="4bf92f3577b34da6a3ce929d0e0e4736"),
        attempt(**usual, outcome="lost", settled=False, status=None, trace_id=text),
        attempt(**usual, outcome=text),
    ]


def letter(text: str) -> dict[str, Any]:
    return {
        "id": text,
        "type": text,
        "source": text,
        "reason": text,
        "detail": text,
        "text": text,
        "last_status": 422,
        "attempts": 12,
        "last_failed_at": "2026-11-29T02:00:00.000Z",
        "content_type": text,
        "body": text,
        "body_bytes": len(text),
    }


def gaps(text: str) -> list[Gap]:
    return [Gap(writer=text, flow=text, since=NOW - 9 * MINUTE, until=NOW - 7 * MINUTE, attempts=1240, reason=text)]


def chart(text: str, span: Span = Span.HOUR) -> Any:
    minute = int(NOW.timestamp()) // 60
    counts = [
        MinuteCount(key=MinuteKey(minute - ago, text, outcome, text, 422, 3), attempts=2345, duration_us=1)
        for ago in range(1, span.steps * span.step_minutes, span.step_minutes)
        for outcome in ("delivered", "retry", "defer")
    ]
    backlog = [FlowMinute(flow=text, at=NOW - ago * MINUTE, accepted=5) for ago in range(1, 60)]
    return chart_of(Past(counts=counts, backlog=backlog, gaps=gaps(text)), span, NOW)


def action(text: str) -> Action:
    return Action(id="1", at=NOW, by=text, flow=text, kind=text, detail=text)


def job(text: str, **fields: Any) -> Job:
    return Job(**{"id": text, "flow": text, "by": text, "started_at": NOW, "total": 10, "seen": 4, "done": 3} | fields)


def event(text: str) -> Any:
    known = Known(
        event_id=text,
        last=LastAttempt(outcome=text, attempt=1, ago_s=1, failure=FailureCause(reason=text, text=text)),
        in_hand=InHand(state=text, lane=text, attempt=1, here_s=1),
    )
    return [
        event_view(
            text,
            text,
            attempts=attempts,
            answers={text: known},
            silent=1,
            letter=letter(text),
            trace_url="http://localhost:16686/trace/{trace_id}",
        )
        for attempts in (records(text), [], None)
    ]


def flow_values(text: str, span: Span = Span.HOUR) -> dict[str, Any]:
    return {
        "flow": FlowView(state(text)),
        "read_only": False,
        "spans": list(Span),
        "chart": chart(text, span),
        "gaps": gaps(text),
        "attempts": rows_of(records(text)),
        "attempts_problem": text,
        "latest_action": action(text),
    }


def dead_values(text: str) -> dict[str, Any]:
    selection = Selection(reasons=frozenset({text}), types=frozenset({text}), since=NOW, until=NOW)
    return {
        "flow": text,
        "flows": [(text, 2), ("refunds", None)],
        "reasons": [text],
        "query": dict.fromkeys(("flow", "reason", "status", "type", "since", "until"), text),
        "fields": fields_of(text, selection),
        "replay_all": "/replay",
        "problem": "",
        "letters": letter_rows([letter(text), letter(text) | {"last_failed_at": None}]),
        "groups": groups_of([letter(text)], {"flow": text}, NOW),
        "matching": 2,
        "searched": 2,
        "depth": 3,
    }


PAGES: dict[str, Callable[[str], dict[str, Any]]] = {
    "flows.html": lambda text: {"flows": [FlowView(state(text), 3), FlowView(FlowState(flow=text))]},
    "flow.html": flow_values,
    "attempts.html": lambda text: {
        "flows": [text, "refunds"],
        "outcomes": [text],
        "reasons": [text],
        "query": dict.fromkeys(("flow", "outcome", "reason", "status", "type", "since", "until"), text),
        "refusal": None,
        "attempts": rows_of(records(text)),
        "problem": text,
        "newest": "/attempts",
        "older": "/attempts?after=1",
    },
    "event.html": lambda text: {
        "event_id": text,
        "views": event(text),
        "problems": [text],
        "searched": text,
        "retention_days": 7,
    },
    "dead.html": dead_values,
    "replay.html": lambda text: {
        "flow": text,
        "conditions": conditions_of(Selection(reasons=frozenset({text}), ids=frozenset({text}))),
        "fields": fields_of(text, Selection(ids=frozenset({text}))),
        "back": "/dead",
        "problem": "",
        "count": DeadCount(selected=37, reasons={text: 37}, types={text: 37}, searched=40, total=50),
    },
    "job.html": lambda text: {"job": job(text, error=text, missing=(text,)), "read_only": False},
    "control.html": lambda text: {
        "flow": text,
        "question": question_of(state(text), {"do": "rate", "rate": "5"}),
        "fields": [("flow", text), ("rate", text)],
    },
    "actions.html": lambda text: {"actions": [action(text)], "problem": text, "is_cut": True},
    "about.html": lambda text: {
        "facts": [("Version", text)],
        "problems": [text],
        "services": [("collector", text, text, text)],
        "gaps": gaps(text),
        "gaps_problem": text,
    },
    "problem.html": lambda text: {"title": text, "detail": text},
}


@pytest.mark.parametrize("text", [USUAL, HOSTILE, "\ud800"], ids=["usual", "hostile", "surrogate"])
@pytest.mark.parametrize("template", PAGES)
def test_no_text_acts_on_its_reader(template: str, text: str) -> None:
    html = render(template, now=NOW, frame=frame(text), **PAGES[template](text))
    assert Page(html).page_flaws() == []
    assert "1337" not in html
    html.encode()


@pytest.mark.parametrize("template", PAGES)
def test_a_long_text_is_cut(template: str) -> None:
    """Only hidden fields keep a value whole: it has to come back as it was sent."""
    if template in {"replay.html", "control.html", "dead.html", "attempts.html", "job.html"}:
        pytest.skip("has such fields; their values have at most 255 bytes")
    assert len(render(template, now=NOW, frame=frame(LONG), **PAGES[template](LONG))) < 8 * len(LONG)


@pytest.mark.parametrize("template", PAGES)
def test_a_page_that_only_shows_offers_no_change(template: str) -> None:
    values = PAGES[template](USUAL) | ({"read_only": True} if template in {"flow.html", "job.html"} else {})
    if template in {"replay.html", "control.html"}:
        pytest.skip("asks before a change, and no page links to it")
    page = Page(render(template, now=NOW, frame=Frame(nav="", read_only=True), **values))
    assert [form for form in page.all("form") if form.get("method") == "post" and form.get("id") is None] == []
    assert [link for link in page.all("a") if link["href"].startswith(("/control", "/replay"))] == []
    assert [button for button in page.all("button") if "form" in button] == []


@pytest.mark.parametrize("span", Span)
def test_the_page_of_a_flow_is_light(span: Span) -> None:
    values = flow_values(USUAL, span) | {
        "flow": FlowView(FlowState(flow=USUAL)),
        "attempts": rows_of([attempt(event_id="0198f3c2-7b1e-7c44-9d10-6a2f5b0c1d2e")] * 15),
    }
    html = render("flow.html", now=NOW, frame=Frame(nav="flows"), **values)
    assert len(html.encode()) + sum(len(asset.content) for asset in ASSETS.values()) < WEIGHT_MAX_BYTES


def test_an_unknown_value_is_a_dash_and_never_zero() -> None:
    html = render("flow_now.html", now=NOW, flow=FlowView(FlowState(flow="orders")), read_only=False)
    words = Page(html).words
    assert "0" not in words
    assert "Live - Due - Replay - Held - ETA unknown" in words
    assert "Source - accepted" in words


def test_the_live_part_of_a_flow_has_its_path_in_order() -> None:
    page = Page(render("flow_now.html", now=NOW, flow=FlowView(state(USUAL)), read_only=False))
    assert page.flaws() == []
    steps = [attributes["class"].split()[1] for attributes in page.all("li") if "step" in attributes.get("class", "")]
    assert steps == ["source", "collector", "waiting", "processors", "target", "retries", "dead"]
    assert {attributes["data-part"] for _, attributes in page.tags if "data-part" in attributes} == {
        "head",
        "causes",
        "path",
    }


def test_a_search_without_an_index_offers_its_remedies() -> None:
    refusal = Refusal(sentence="No.", remedies=[("Search among failures", "/attempts?outcome=failures")])
    values = PAGES["attempts.html"](USUAL) | {"refusal": refusal, "attempts": None}
    page = Page(render("attempts.html", now=NOW, frame=Frame(nav=""), **values))
    assert "/attempts?outcome=failures" in [link["href"] for link in page.all("a")]


@pytest.mark.parametrize(
    ("template", "values", "expected"),
    [
        ("flow.html", {"attempts": []}, "No attempt yet. Send an event to POST /events/orders"),
        ("flow.html", {"attempts": None, "attempts_problem": "No history is kept."}, "No history is kept."),
        ("attempts.html", {"attempts": []}, "No attempt matches."),
        ("attempts.html", {"attempts": None, "problem": "The history is busy."}, "The history is busy."),
        ("dead.html", {"letters": [], "depth": 0}, "No dead letters: every event was delivered, or is on its way."),
        ("dead.html", {"letters": [], "depth": 3}, "No dead letter matches."),
        ("dead.html", {"problem": "A replay reads them."}, "A replay reads them."),
        ("actions.html", {"actions": []}, "No action yet."),
        ("about.html", {"services": [], "gaps": []}, "No gaps."),
        ("about.html", {"gaps": None, "gaps_problem": "The history is busy."}, "The history is busy."),
        ("event.html", {"views": []}, "Not attempted yet, or it never came."),
        (
            "replay.html",
            {"count": DeadCount(selected=0, reasons={}, types={}, searched=1, total=1)},
            "No dead letter matches.",
        ),
    ],
)
def test_an_empty_page_explains_itself(template: str, values: dict[str, Any], expected: str) -> None:
    html = render(template, now=NOW, frame=Frame(nav=""), **PAGES[template](USUAL) | values)
    page = Page(html)
    assert expected in page.words
    assert page.page_flaws() == []


@pytest.mark.parametrize(("seen", "is_cut_short"), [(10, False), (4, True)])
def test_a_replay_that_did_not_get_all_dead_letters_does_not_look_complete(seen: int, is_cut_short: bool) -> None:
    ended = job("1", state="done", ended_at=NOW, seen=seen)
    html = render("job.html", now=NOW, frame=Frame(nav=""), job=ended, read_only=False)
    assert ("Another reader held the other dead letters" in html) is is_cut_short


def test_a_replay_that_has_ended_is_no_longer_followed() -> None:
    ended = job("1", state="done", ended_at=NOW + timedelta(seconds=9))
    html = render("job.html", now=NOW, frame=Frame(nav=""), job=ended, read_only=False)
    assert "data-live" not in html
    assert "refresh" not in html
    running = render("job.html", now=NOW, frame=Frame(nav=""), job=job("1"), read_only=False)
    assert 'data-live="/live/job?id=1"' in running
    assert '<noscript><meta http-equiv="refresh" content="2"></noscript>' in running
