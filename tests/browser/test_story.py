"""A night on duty: a target refuses events, an operator holds the flow, the target is mended, the events go again."""

import re

import pytest
from aiohttp import web
from playwright.async_api import Browser, expect

from tests.browser.world import World
from tests.support.browser import watched_page
from tests.support.target import Receipt
from tests.support.wait import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

REFUSED = [f"order-{number}" for number in range(1, 7)]
CRASHED = ["order-8", "order-9"]
WORDS = "The field 'sku' is unknown since version 3."


async def test_events_that_a_broken_target_refused_are_delivered_after_it_is_mended(
    browser: Browser, world: World
) -> None:
    def broken(receipt: Receipt) -> web.Response | int:
        return 500 if receipt.id in CRASHED else web.Response(status=422, text=WORDS)

    world.target.answer = broken
    async with watched_page(browser, world.origin) as (page, _):
        await page.goto("/")
        await page.get_by_role("link", name=world.flow, exact=True).click()
        dead = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="Dead letters"))
        await expect(dead).to_contain_text("0")
        await world.send_all(*REFUSED, *CRASHED)
        await expect(dead).to_contain_text("8")  # the page has changed by itself

        await page.get_by_role("link", name="Pause").click()
        await page.get_by_role("button", name="Pause").click()
        await expect(page.get_by_text("paused", exact=True)).to_be_visible()
        await world.send("order-10")
        waiting = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="Waiting"))
        await expect(waiting).to_contain_text("1")

        await page.get_by_role("link", name="See why, and replay").click()
        await expect(page.get_by_text(WORDS).first).to_be_visible()

        world.target.answer = lambda _: 200  # the target is mended
        await page.get_by_role("link", name="Flows").click()
        await page.get_by_role("link", name=world.flow, exact=True).click()
        await page.get_by_role("link", name="Resume").click()
        await page.get_by_role("button", name="Resume").click()
        await expect(page.get_by_role("link", name="Pause")).to_be_visible()
        await eventually(lambda: "order-10" in {one.id for one in world.target.taken}, what="the event that waited")

        await page.get_by_role("link", name="See why, and replay").click()
        await page.get_by_role("list", name="By status").get_by_role("link", name=re.compile("422")).click()
        await page.get_by_role("link", name="Replay all that match").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text(f"Replay {len(REFUSED)} dead letters?")
        assert len(world.target.taken) == 1, "nothing is sent before the operator has agreed"
        await page.get_by_role("button", name=f"Replay {len(REFUSED)}").click()
        await expect(page.get_by_text(f"{len(REFUSED)} replayed")).to_be_visible()
        await eventually(lambda: {*REFUSED} <= {one.id for one in world.target.taken}, what="all refused events")

        await page.get_by_role("link", name="Watch the flow").click()
        await expect(dead).to_contain_text(str(len(CRASHED)))
        await expect(waiting).to_contain_text("0")

        await page.get_by_role("searchbox", name="Event id").fill(REFUSED[0])
        await page.get_by_role("button", name="Find").click()
        await expect(page.get_by_role("region", name="Timeline").get_by_role("heading", level=3)).to_have_text(
            [re.compile(text) for text in ("Accepted", "1 retry HTTP 422", "2 dead HTTP 422", "1 delivered HTTP 200")]
        )
        await expect(page.get_by_text(WORDS).first).to_be_visible()

        await page.get_by_role("link", name="Actions").click()
        for action in ("pause", "resume", "replay"):
            await expect(page.get_by_role("row").filter(has_text=action).first).to_be_visible()
