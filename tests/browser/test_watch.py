"""The watch over pages detects each forbidden act."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser

from tests.support.browser import watched_page

pytestmark = pytest.mark.asyncio(loop_scope="module")

POLICY = {"Content-Security-Policy": "default-src 'self'; script-src 'self' 'nonce-a'; img-src *"}
MISBEHAVED = """
<!doctype html><title>Misbehaved</title><link rel="icon" href="data:,">
<img src="http://other.example/a.png">
<p style="color: red">inline style</p>
<script>alert("inline script")</script>
<script nonce="a">
    alert("a dialog"); console.error("an error"); setTimeout(() => { throw Error("a surprise") });
</script>
"""
HARMLESS = '<!doctype html><title>Harmless</title><link rel="icon" href="/icon"><script src="/script"></script>'


@pytest_asyncio.fixture(loop_scope="module")
async def origin() -> AsyncIterator[str]:
    """A server with a page of each kind."""

    async def answer(request: web.Request) -> web.Response:
        match request.path:
            case "/misbehaved":
                return web.Response(text=MISBEHAVED, content_type="text/html", headers=POLICY)
            case "/harmless":
                return web.Response(text=HARMLESS, content_type="text/html", headers=POLICY)
            case "/script":
                return web.Response(text='console.log("a note")', content_type="text/javascript")
        return web.Response()

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_errors_dialogs_violations_and_requests_to_other_hosts_fail_a_test(browser: Browser, origin: str) -> None:
    async def misbehave() -> None:
        # The error is the last act.
        async with watched_page(browser, origin) as (page, _), page.expect_event("pageerror"):
            await page.goto("/misbehaved")

    with pytest.raises(AssertionError) as failed:
        await misbehave()
    found = str(failed.value)
    for act in (
        "request: GET http://other.example/a.png",
        "dialog: a dialog",
        "console: an error",
        "script: a surprise",
        "policy: style-src-attr forbids inline",
        "policy: script-src-elem forbids inline",
    ):
        assert act in found
    assert "dialog: inline script" not in found


async def test_a_harmless_page_passes_and_so_does_an_act_that_the_test_expects(browser: Browser, origin: str) -> None:
    async with watched_page(browser, origin) as (page, _):
        await page.goto("/harmless")
        await page.reload()
    async with watched_page(browser, origin) as (page, watched):
        watched.expected += ["a dialog"]
        await page.goto("/harmless")
        await page.evaluate("alert('a dialog')")
