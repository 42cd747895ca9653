"""Every page, light and dark, wide and narrow: it fits, it works by keyboard, and a screen reader can read it."""

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, Page, expect

from tests.browser.world import World
from tests.support.browser import unreachable_controls, watched_page, wider_parts
from tests.support.target import Receipt
from tests.support.wait import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCHEMES = ("light", "dark")
SIZES: Mapping[str, Any] = {"wide": {"width": 1280, "height": 800}, "narrow": {"width": 360, "height": 740}}
WORDS_OF_TARGET = "The field 'sku' is unknown."


def address(path: str, **query: str) -> str:
    return f"{path}?{urlencode(query)}" if query else path


def pages_of(flow: str) -> Mapping[str, str]:
    """Return the addresses of all pages, by the names of their screenshots."""
    return {
        "flows": "/",
        "flow": address("/flow", flow=flow),
        "attempts": address("/attempts", flow=flow),
        "failures": address("/attempts", flow=flow, outcome="failures"),
        "event": address("/event", id="refused-1", flow=flow),
        "dead": address("/dead", flow=flow),
        "pause": address("/control", flow=flow, do="pause"),
        "actions": "/actions",
        "about": "/about",
    }


@pytest_asyncio.fixture(loop_scope="module")
async def seen(world: World) -> World:
    """A flow that has delivered three events and has given up two, all on record."""

    def answer(receipt: Receipt) -> web.Response | int:
        is_refused = receipt.id.startswith("refused")
        return web.Response(status=422, text=WORDS_OF_TARGET) if is_refused else 200

    world.target.answer = answer
    await world.send_all("good-1", "good-2", "good-3", "refused-1", "refused-2")

    async def is_on_record() -> bool:
        async with world.http.get(f"{world.origin}/api/v1/attempts", params={"flow": world.flow}) as found:
            return len((await found.json())["attempts"]) == 7

    await eventually(is_on_record, what="3 events delivered, and 2 attempted twice")
    return world


async def shown(page: Page, path: str) -> None:
    """Go to a page, which must be there, and wait until it does not change any more."""
    answer = await page.goto(path)
    assert answer is not None
    assert answer.ok, f"{path}: {answer.status}"


async def test_every_page_fits_its_window(browser: Browser, seen: World, screenshots: Path) -> None:
    for scheme, size in product(SCHEMES, SIZES):
        options = {"viewport": SIZES[size], "color_scheme": scheme}
        async with watched_page(browser, seen.origin, **options) as (page, _):
            for name, path in pages_of(seen.flow).items():
                await shown(page, path)
                await page.screenshot(path=screenshots / f"{name}-{scheme}-{size}.png", full_page=True)
                assert await wider_parts(page) == [], (path, scheme, size)


async def test_every_control_is_reached_by_keyboard_and_shows_the_focus(browser: Browser, seen: World) -> None:
    async with watched_page(browser, seen.origin) as (page, _):
        for path in pages_of(seen.flow).values():
            await shown(page, path)
            assert await unreachable_controls(page) == [], path


async def test_a_screen_reader_reads_the_path_of_events_in_its_order(browser: Browser, seen: World) -> None:
    async with watched_page(browser, seen.origin) as (page, _):
        await shown(page, address("/flow", flow=seen.flow))
        await expect(page.locator("main")).to_match_aria_snapshot(f"""
          - main:
            - region "Now":
              - heading "{seen.flow}" [level=1]
              - link "Pause"
              - list "Path of events":
                - listitem:
                  - heading "Source" [level=2]
                - listitem:
                  - heading "Collector" [level=2]
                - listitem:
                  - heading "Waiting" [level=2]
                - listitem:
                  - heading "Processors" [level=2]
                - listitem:
                  - heading "Target" [level=2]
                - listitem:
                  - heading "Retries" [level=2]
                - listitem:
                  - heading "Dead letters" [level=2]
                  - paragraph: "2"
                  - link "See why, and replay"
            - region "Per minute":
              - heading "Per minute" [level=2]
              - navigation "Range"
            - region "Latest attempts":
              - heading "Latest attempts" [level=2]
              - table "Latest attempts"
            - region "Controls":
              - heading "Controls" [level=2]
              - textbox "Rate per second"
              - button "Set rate"
        """)


async def test_a_screen_reader_reads_what_happened_to_an_event(browser: Browser, seen: World) -> None:
    async with watched_page(browser, seen.origin) as (page, _):
        await shown(page, address("/event", id="refused-1", flow=seen.flow))
        await expect(page.locator("main")).to_match_aria_snapshot(f"""
          - main:
            - heading "refused-1" [level=1]
            - heading "Flow {seen.flow}" [level=2]
            - link "Replay"
            - region "Timeline":
              - heading "Timeline" [level=2]
              - list:
                - listitem:
                  - heading /Accepted/ [level=3]
                - listitem:
                  - heading /Attempt 1 retry HTTP 422/ [level=3]
                  - text: {WORDS_OF_TARGET}
                - listitem:
                  - heading /Attempt 2 dead HTTP 422/ [level=3]
                  - text: {WORDS_OF_TARGET}
            - region "Dead letter":
              - heading "Dead letter" [level=2]
              - text: /hello/
        """)


async def test_the_pages_work_without_javascript(browser: Browser, seen: World) -> None:
    async with watched_page(browser, seen.origin, java_script_enabled=False) as (page, _):
        await shown(page, "/")
        await page.get_by_role("link", name=seen.flow, exact=True).click()
        await page.get_by_role("link", name="Pause").click()
        # A reload that meets the answer to the form fails, so the answer comes first.
        async with page.expect_navigation():
            await page.get_by_role("button", name="Pause").click()

        async def is_paused() -> bool:
            await page.reload()
            return await page.get_by_text("paused", exact=True).is_visible()

        await eventually(is_paused, what="the pause to be seen")
        await page.get_by_role("searchbox", name="Event id").fill("refused-1")
        await page.get_by_role("button", name="Find").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("refused-1")
        await page.get_by_role("link", name="Dead letters").click()
        await page.get_by_role("textbox", name="Status").fill("422")
        await page.get_by_role("button", name="Filter").click()
        await page.get_by_role("checkbox", name="Select refused-2").check()
        await page.get_by_role("button", name="Replay selected").click()
        await page.get_by_role("button", name="Replay 1").click()
        await expect(page.get_by_text("1 replayed")).to_be_visible()


async def test_an_event_is_printed_without_the_controls(browser: Browser, seen: World, screenshots: Path) -> None:
    async with watched_page(browser, seen.origin, viewport={"width": 800, "height": 1100}) as (page, _):
        await shown(page, address("/event", id="refused-1", flow=seen.flow))
        await page.emulate_media(media="print")
        await page.screenshot(path=screenshots / "event-print.png", full_page=True)
        await expect(page.get_by_role("navigation", name="Main")).to_be_hidden()
        await expect(page.get_by_role("link", name="Replay")).to_be_hidden()
        await expect(page.get_by_role("heading", name="refused-1")).to_be_visible()
        await expect(page.get_by_text(WORDS_OF_TARGET).first).to_be_visible()


async def test_each_page_has_the_icon_of_the_console(browser: Browser, world: World) -> None:
    async with watched_page(browser, world.origin) as (page, _):
        await shown(page, "/")
        icon = await page.locator("link[rel=icon]").get_attribute("href")
        assert icon is not None
        answer = await page.request.get(icon)
        assert answer.ok
        assert answer.headers["content-type"] == "image/svg+xml"


async def test_an_empty_page_names_the_next_step(browser: Browser, world: World) -> None:
    async with watched_page(browser, world.origin) as (page, _):
        await shown(page, address("/flow", flow=world.flow))
        await expect(page.get_by_text("Send an event")).to_be_visible()
        await shown(page, address("/dead", flow=world.flow))
        await expect(page.get_by_text("No dead letters")).to_be_visible()
        await shown(page, address("/attempts", flow=world.flow))
        await expect(page.get_by_text("No attempt matches")).to_be_visible()
        await shown(page, "/actions")
        await expect(page.get_by_text("No action yet")).to_be_visible()
        await page.goto(address("/event", id="never-came"))
        await expect(page.get_by_text("not attempted yet, or it never came")).to_be_visible()
