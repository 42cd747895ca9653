"""The pages over a socket, with a real store and without a broker."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from eventflow.event import utc_now
from eventflow.history.records import Batch, FlowMinute, MinuteCount, MinuteKey
from eventflow.history.sqlite.store import SqliteStore
from eventflow_console.pages.assets import ASSETS, asset_address
from tests.support.console import Console, console
from tests.support.history import attempt
from tests.support.html_pages import Page

HOSTILE = '"><script>alert(1)</script>\u202e'
OWN = {"Sec-Fetch-Site": "same-origin"}
TWO_FLOWS = {"orders": {}, "refunds": {}}
PATHS = (
    "/",
    "/flow?flow=orders",
    "/attempts?flow=orders",
    "/event?id=order-1",
    "/dead?flow=orders",
    "/actions",
    "/about",
)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store, now = SqliteStore(tmp_path / "history.db"), utc_now()
    rows = [
        attempt(flow="orders", event_id=f"order-{number}", started_at=now - timedelta(seconds=number))
        for number in range(60)
    ]
    rows.append(
        attempt(
            flow="orders",
            event_id="bad-1",
            type=HOSTILE,
            started_at=now - timedelta(minutes=2),
            outcome="retry",
            status=422,
            reason="client_error",
            answer=HOSTILE.encode(),
            answer_bytes=99,
        )
    )
    minute = int(now.timestamp()) // 60 - 2
    key = MinuteKey(minute=minute, flow="orders", outcome="retry", reason="client_error", status=422, bucket=3)
    counts = [MinuteCount(key=key, attempts=7, duration_us=1)]
    await store.append(Batch(writer="processor-1", number=1, attempts=rows, minutes=counts))
    await store.put_flow_minutes([FlowMinute(flow="orders", at=now.replace(second=0, microsecond=0), accepted=60)])
    yield store
    await store.close()


@pytest.fixture
async def pages(store: SqliteStore) -> AsyncIterator[Console]:
    async with console(store, flows=TWO_FLOWS) as running:
        yield running


async def page_of(pages: Console, path: str, status: int = 200) -> Page:
    answer = await pages.get(path)
    assert answer.status == status, answer.text
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    page = Page(answer.text)
    assert page.page_flaws() == []
    return page


@pytest.mark.parametrize("path", PATHS)
async def test_a_page_is_shown_while_the_broker_is_away_and_names_the_reason(pages: Console, path: str) -> None:
    page = await page_of(pages, path)
    if path not in {"/attempts?flow=orders", "/actions"}:  # these need no broker
        assert "RabbitMQ is away since" in page.words


@pytest.mark.parametrize("path", PATHS)
async def test_a_page_is_shown_without_a_store(path: str) -> None:
    async with console(flows=TWO_FLOWS) as pages:
        page = await page_of(pages, path)
    assert "History away" not in page.words


async def test_one_flow_is_shown_at_once() -> None:
    async with console(flows={}) as pages:
        answer = await pages.get("/")
    assert (answer.status, answer.headers["Location"]) == (302, "/flow?flow=default")


async def test_the_flows_show_the_failures_of_an_hour(pages: Console) -> None:
    page = await page_of(pages, "/")
    assert "orders unknown - - 7 - unknown -" in page.words


@pytest.mark.parametrize(
    "path", ["/flow?flow=none", "/attempts?flow=orders&status=abc", "/event", "/job?id=1", "/none"]
)
async def test_a_wrong_address_has_a_page_with_the_reason(pages: Console, path: str) -> None:
    await page_of(pages, path, status=404 if path in {"/flow?flow=none", "/job?id=1", "/none"} else 400)


async def test_the_pages_of_a_search_are_addresses(pages: Console) -> None:
    first = await page_of(pages, "/attempts?flow=orders&since=1h")
    older = next(link["href"] for link in first.all("a") if link.get("rel") == "next")
    assert "since=20" in older  # absolute, so that it selects the same tomorrow
    second = await page_of(pages, older)
    assert "order-50" in second.words
    assert "order-49" not in second.words
    assert "/attempts?flow=orders&since=20" in next(
        link["href"] for link in second.all("a") if link.get("rel") == "first"
    )


async def test_a_search_without_an_index_offers_two_that_have_one(pages: Console) -> None:
    page = await page_of(pages, "/attempts?flow=orders&status=422")
    remedies = [link["href"] for link in page.all("a") if link["href"].startswith("/attempts?")]
    assert len(remedies) == 2
    for remedy in remedies:
        found = await page_of(pages, remedy)
        assert "bad-1" in found.words
        assert "order-1" not in found.words


async def test_an_event_has_a_timeline_with_the_answer_of_the_target(pages: Console) -> None:
    page = await page_of(pages, "/event?id=bad-1")
    assert "Attempt 1 retry HTTP 422" in page.words
    assert '"><script>alert(1)</script>\\u202e' in page.words
    assert "The processors of flow" not in page.words


async def test_an_event_that_is_not_known_has_things_to_check(pages: Console) -> None:
    page = await page_of(pages, "/event?id=nothing")
    assert "Not attempted yet, or it never came." in page.words
    assert "Searched in orders, refunds" in page.words


async def test_a_change_is_asked_before_it_is_made(pages: Console) -> None:
    page = await page_of(pages, "/control?flow=orders&do=rate&rate=5")
    assert "Set the rate of orders to 5/s?" in page.words
    hidden = {field["name"]: field["value"] for field in page.all("input") if field.get("type") == "hidden"}
    assert hidden == {"flow": "orders", "do": "rate", "rate": "5"}
    assert "Pause orders?" in (await page_of(pages, "/control?flow=orders&do=pause")).words
    await page_of(pages, "/control?flow=orders&do=rate&rate=fast", status=400)
    await page_of(pages, "/control?flow=orders&do=purge", status=400)


async def test_nothing_selected_is_not_everything(pages: Console) -> None:
    answer = await pages.post("/replay/selected", data={"flow": "orders"}, headers=OWN)
    assert "No dead letter is selected." in Page(answer.text).words
    assert not [form for form in Page(answer.text).all("form") if form.get("method") == "post"]


async def test_a_change_without_a_broker_is_refused_with_the_reason(pages: Console) -> None:
    answer = await pages.post("/control", data={"flow": "orders", "do": "pause"}, headers=OWN)
    assert answer.status == 503
    assert Page(answer.text).page_flaws() == []


@pytest.mark.parametrize("path", ["/control", "/replay", "/replay/selected", "/export"])
async def test_a_form_must_name_its_flow(path: str) -> None:
    async with console(flows={"orders": {}}) as pages:
        answer = await pages.post(path, data={"do": "pause", "id": "a"}, headers=OWN)
    assert answer.status == 400
    assert "orders" in answer.text


async def test_a_read_only_console_refuses_every_form(store: SqliteStore) -> None:
    async with console(store, flows=TWO_FLOWS, read_only=True) as pages:
        for path in ("/control", "/replay", "/replay/selected", "/export", "/job/cancel"):
            assert (await pages.post(path, data={"flow": "orders", "do": "pause"}, headers=OWN)).status == 403


async def test_a_file_is_kept_by_browsers_until_its_content_changes(pages: Console) -> None:
    for name in ("console.css", "console.js", "favicon.svg"):
        answer = await pages.get(asset_address(name))
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert len(ASSETS) == 3
    assert (await pages.get("/static/console.css")).status == 404
    assert (await pages.get("/static/..%2Froutes.py")).status == 404


async def test_a_hostile_query_is_shown_as_text(pages: Console) -> None:
    for path in (
        "/event?id=",
        "/attempts?flow=orders&type=",
        "/attempts?flow=",
        "/dead?flow=orders&type=",
        "/control?do=",
    ):
        answer = await pages.get(path + "%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
        assert Page(answer.text).page_flaws() == []
        assert answer.status in {200, 400, 404}
