"""Texts of strangers: ids, types, bodies and answers of a target are shown, and do nothing."""

from urllib.parse import urlencode

import pytest
from aiohttp import web
from playwright.async_api import Browser, expect

from tests.browser.world import World
from tests.support.browser import watched_page, wider_parts
from tests.support.wait import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCRIPT = "<script>alert('script')</script>"
IMAGE = "\"'><img src=x onerror=alert('image')>"
TEMPLATE = "{{7*7}}${7*7}</pre></main></body>"
CONTROLS = "\x00\x07\x1b[31mred\x1b[0m\x9b\r\n\u202etxet sdrawkcab\u202c\u2028\ufeff"
LONG = "A" * 1_000_000
BODIES = {
    "script": f'{{"name": "{SCRIPT}"}}'.encode(),
    "image": IMAGE.encode(),
    "template": TEMPLATE.encode(),
    "controls": CONTROLS.encode(),
    "binary": bytes(range(256)),
    "long": f'{{"{LONG[:500_000]}": "{LONG[:500_000]}"}}'.encode(),
    "deep": b"[" * 5000 + b"]" * 5000,
}


async def test_texts_of_strangers_are_shown_and_do_nothing(browser: Browser, world: World) -> None:
    answer = f"{SCRIPT}{IMAGE}{TEMPLATE}{CONTROLS}{LONG}".encode()
    world.target.answer = lambda _: web.Response(status=422, body=answer, content_type="text/html")
    ids = {f"{name} {IMAGE}": body for name, body in BODIES.items()}
    for event_id, body in ids.items():
        await world.send(event_id, body, ce_specversion="1.0", ce_id=event_id, ce_source=IMAGE, ce_type=SCRIPT)
    await eventually(lambda: len(world.target.receipts) == 2 * len(ids), what="two attempts for each event")
    async with watched_page(browser, world.origin, viewport={"width": 360, "height": 740}) as (page, _):
        for path in ("/", "/flow", "/attempts", "/dead", "/actions"):
            await page.goto(f"{path}?{urlencode({'flow': world.flow})}" if path != "/" else path)
            await expect(page.get_by_role("navigation", name="Main")).to_be_visible()
            assert await wider_parts(page) == [], path
        await page.goto(f"/dead?{urlencode({'flow': world.flow})}")
        await expect(page.get_by_text(SCRIPT).first).to_be_visible()
        for event_id in ids:
            await page.goto(f"/event?{urlencode({'id': event_id, 'flow': world.flow})}")
            await expect(page.get_by_role("heading", level=1)).to_have_text(event_id)
            await expect(page.get_by_text(SCRIPT).first).to_be_visible()
            assert await wider_parts(page) == [], event_id
            assert await page.locator("img[src=x], script:not([src])").count() == 0
