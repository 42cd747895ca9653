"""The program that makes the pictures of the documents: `make screenshots`.

It runs a flow for some seconds. The hour before that in the chart is made up: a quiet evening, and a target that
refuses some events for ten minutes.
"""

import asyncio
import math
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
from aiohttp import web
from playwright.async_api import Page, expect

from eventflow.history.opening import open_history
from eventflow.history.records import Batch, FlowMinute, MinuteCount, MinuteKey
from sandbox.broker.provision import provide
from tests.browser.world import World, running_world
from tests.support.browser import chromium, watched_page
from tests.support.target import Receipt

IMAGES = Path(__file__).parents[2] / "docs" / "images"
FLOW = "orders"
RATE_PER_S = 20
INCIDENT = range(18, 28)
"""Minutes before now in which the target refused events."""

ANSWER = '{"error": "unknown_sku", "message": "The field \'sku\' is unknown since version 3. Use \'article\'."}'
BODY = b'{"order": 1042, "sku": "EF-4711", "quantity": 2, "customer": {"name": "Ada", "country": "GB"}}'


async def seed(url: str) -> None:
    """Write an hour of counts into a new history."""
    store = open_history(url)
    clock = datetime.now(UTC)
    now = clock.replace(second=0, microsecond=0)
    counts: list[MinuteCount] = []
    backlog = []
    waiting = 0
    for ago in range(60, -1, -1):
        at = now - timedelta(minutes=ago)
        seconds = 60 if ago else clock.second  # of the present minute only the part that is over
        accepted = round((15 + 8 * math.sin(ago / 9) + 1.5 * math.sin(ago * 1.7)) * seconds)
        delivered = min(RATE_PER_S * seconds, waiting + accepted)
        failed = 140 if ago in INCIDENT else 0
        waiting += accepted - delivered
        backlog.append(FlowMinute(flow=FLOW, at=at, accepted=accepted, waiting=waiting, dead=0, oldest_s=1, spooled=0))
        for outcome, reason, status, attempts in (
            ("delivered", "", 200, delivered - failed),
            ("retry", "client_error", 422, failed),
        ):
            if attempts:
                key = MinuteKey(
                    minute=int(at.timestamp()) // 60,
                    flow=FLOW,
                    outcome=outcome,
                    reason=reason,
                    status=status,
                    bucket=5,
                )
                counts.append(MinuteCount(key=key, attempts=attempts, duration_us=attempts * 42_000))
    await store.migrate()
    await store.append(Batch(writer="eventflow-processor@shop-1", number=1, minutes=counts))
    await store.put_flow_minutes(backlog)
    await store.close()


def answer(receipt: Receipt) -> web.Response | int:
    """Answer as a target that accepts no order with an old field."""
    if receipt.id.startswith("order-10"):
        return web.Response(status=422, text=ANSWER, content_type="application/json")
    return 200


async def send(world: World, numbers: Iterable[int]) -> None:
    """Send orders at once."""
    for event_id in (f"order-{number}" for number in numbers):
        await world.send(
            event_id, BODY, ce_specversion="1.0", ce_id=event_id, ce_source="/shop/eu", ce_type="shop.order.created"
        )


async def take(page: Page, world: World, directory: Path) -> None:
    """Write both pictures while events flow."""
    await send(world, range(1001, 1005))
    for second in range(10):
        await send(world, range(2000 + 100 * second, 2015 + 100 * second))
        await asyncio.sleep(1)
    await send(world, range(3000, 3040))
    await page.goto(f"/flow?flow={FLOW}")
    dead = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="Dead letters"))
    await expect(dead).to_contain_text("4")
    await page.screenshot(path=directory / "flow.png")
    await page.goto(f"/event?id=order-1002&flow={FLOW}")
    await expect(page.get_by_text("unknown_sku").first).to_be_visible()
    await page.screenshot(path=directory / "event.png")


async def main() -> None:
    """Write the pictures."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="eventflow-pictures-") as name, provide(Path(name)) as broker:
        directory = Path(name)
        await seed(f"sqlite:///{directory / 'history.db'}")
        async with (
            aiohttp.ClientSession() as http,
            running_world(
                broker.url,
                flow=FLOW,
                directory=directory,
                http=http,
                MAX_ATTEMPTS="2",
                RATE_PER_S=str(RATE_PER_S),
            ) as world,
            chromium() as browser,
            watched_page(browser, world.origin, viewport={"width": 1120, "height": 900}) as (page, _),
        ):
            world.target.answer = answer
            await take(page, world, IMAGES)


if __name__ == "__main__":
    asyncio.run(main())
