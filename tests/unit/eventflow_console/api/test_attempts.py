"""Attempts in the API, from a real store."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from eventflow.errors import HistoryLateError, HistorySchemaError, HistoryUnavailableError
from eventflow.event import new_event_id
from eventflow.history.records import Action, Batch
from eventflow.history.sqlite.store import SqliteStore
from tests.support.console import Console, console
from tests.support.history import NOON, attempt

ATTEMPTS = 25


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "history.db")
    failed = {"outcome": "retry", "status": 422, "reason": "client_error", "answer": b"<script>alert(1)</script>"}
    attempts = [
        attempt(event_id=f"order-{number}", started_at=NOON + timedelta(seconds=number), **failed if number % 5 else {})
        for number in range(ATTEMPTS)
    ]
    await store.append(Batch(writer="processor-1", number=1, attempts=attempts))
    yield store
    await store.close()


@pytest.fixture
async def running(store: SqliteStore) -> AsyncIterator[Console]:
    async with console(store) as running:
        yield running


async def test_pages_follow_each_other_and_have_each_attempt_once(running: Console):
    seen, address = [], "/api/v1/attempts?flow=default&limit=10"
    while address is not None:
        answer = await running.get(address)
        assert answer.status == 200
        page = json.loads(answer.text)
        assert page["problems"] == []
        seen += [attempt["event_id"] for attempt in page["attempts"]]
        address = page["next"]
    assert seen == [f"order-{number}" for number in reversed(range(ATTEMPTS))]


async def test_a_selection_keeps_its_conditions_on_the_next_page(running: Console):
    first = json.loads((await running.get("/api/v1/attempts?outcome=failures&status=422&limit=15")).text)
    second = json.loads((await running.get(first["next"])).text)
    assert second["next"] is None
    attempts = first["attempts"] + second["attempts"]
    assert len(attempts) == 20
    assert {attempt["status"] for attempt in attempts} == {422}


async def test_an_answer_with_markup_is_json_that_no_browser_takes_for_a_page(running: Console):
    answer = await running.get("/api/v1/attempts?outcome=failures&limit=1")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert json.loads(answer.text)["attempts"][0]["answer"] == "<script>alert(1)</script>"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("outcom=failures", "unknown"),
        ("limit=1&limit=2", "once"),
        ("limit=0", "1 to 200"),
        ("limit=201", "1 to 200"),
        ("limit=%D9%A1", "1 to 200"),
        ("after=1.x", "cursor"),
        ("after=999999999999999999.0190aaaa-0000-7000-8000-000000000000", "cursor"),
        ("since=yesterday", "since"),
        ("status=abc&outcome=failures", "status"),
        ("status=422", "failures"),
        ("outcome=delivered", "range"),
        ("outcome=nonsense", "nonsense"),
        ("reason=%00&outcome=failures", "reason"),
        ("type=" + "x" * 300 + "&outcome=failures", "type"),
    ],
)
async def test_a_malformed_or_unbounded_selection_is_refused_with_the_remedy(running: Console, query: str, words: str):
    answer = await running.get(f"/api/v1/attempts?{query}")
    assert answer.status == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert words in json.loads(answer.text)["detail"]


async def test_a_flow_that_does_not_exist_is_not_found(running: Console):
    answer = await running.get("/api/v1/attempts?flow=other")
    assert answer.status == 404
    assert "these exist: default" in json.loads(answer.text)["detail"]


async def test_all_attempts_are_streamed_one_in_each_line(running: Console):
    answer = await running.get("/api/v1/attempts.ndjson")
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    rows = [json.loads(line) for line in answer.text.splitlines()]
    assert [row["event_id"] for row in rows] == [f"order-{number}" for number in reversed(range(ATTEMPTS))]


async def test_a_stream_that_its_limit_ends_has_the_address_of_the_rest(running: Console):
    address, seen = "/api/v1/attempts.ndjson?outcome=failures&limit=8", []
    while address:
        rows = [json.loads(line) for line in (await running.get(address)).text.splitlines()]
        address = rows.pop()["next"] if "next" in rows[-1] else ""
        seen += [row["event_id"] for row in rows]
    assert len(seen) == len(set(seen)) == 20


async def test_a_selection_without_attempts_is_an_empty_stream(running: Console):
    answer = await running.get("/api/v1/attempts.ndjson?outcome=dead")
    assert (answer.status, answer.text) == (200, "")


async def test_actions_of_operators_are_listed(running: Console, store: SqliteStore):
    await store.put_action(
        Action(id=new_event_id(), at=NOON, by="alice", flow="default", kind="pause", detail="for the night")
    )
    page = json.loads((await running.get("/api/v1/actions?flow=default")).text)
    assert [action["by"] for action in page["actions"]] == ["alice"]


class BrokenStore:
    """A store whose every query ends with an error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def attempts(self, *_: object, **__: object) -> list[object]:
        raise self.error


async def test_a_query_that_takes_too_long_is_unknown_and_not_empty():
    async with console(BrokenStore(HistoryLateError("late"))) as running:
        answer = await running.get("/api/v1/attempts")
        assert answer.status == 200
        page = json.loads(answer.text)
        assert page["attempts"] is None
        assert page["problems"]
        assert (await running.get("/api/v1/attempts.ndjson")).status == 503
        assert running.counted("eventflow_console_query_failures_total", query="attempts", reason="late") == 2


@pytest.mark.parametrize("error", [HistoryUnavailableError("the disk is full"), HistorySchemaError("run `x`")])
async def test_a_store_that_cannot_be_used_is_a_problem_with_its_reason(error: Exception):
    async with console(BrokenStore(error)) as running:
        answer = await running.get("/api/v1/attempts")
        assert answer.status == 503
        assert str(error) in json.loads(answer.text)["detail"]


async def test_without_a_store_the_setting_is_named():
    async with console() as running:
        for path in ("attempts", "attempts.ndjson", "actions"):
            answer = await running.get(f"/api/v1/{path}")
            assert answer.status == 503
            assert "EVENTFLOW_HISTORY__URL" in json.loads(answer.text)["detail"]
