"""Every page, light and dark, wide and narrow: it fits, it works by keyboard, and a screen reader can read it."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import pytest
from aiohttp import web

from tests.browser.world import World
from tests.support.target import Receipt
from tests.support.wait import eventually

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


@pytest.fixture
async def seen(world: World) -> World:
    """A flow that has delivered three events and has given up two, all on record."""

    def answer(receipt: Receipt) -> web.Response | int:
        is_refused = receipt.id.startswith("refused")
        return web.Response(status=422, text=WORDS_OF_TARGET) if is_refused else 200

    world.target.answer = answer
    await world.send_all("good-1", "good-2", "good-3", "refused-1", "refused-2")
    await eventually(lambda: len(world.target.receipts) == 7, what="3 events delivered, 2 attempted twice")
    return world
