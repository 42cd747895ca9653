"""Targets that misbehave in many ways of HTTP and TCP."""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from tests.chaos.scenario import Scenario
from tests.chaos.world import World, number_of
from tests.support.target import Answer, Receipt

Misbehaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def reset(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response(status=500)


async def half_close(request: web.Request) -> web.StreamResponse:
    """Close the sending side in the middle of the status line."""
    assert request.transport is not None
    request.transport.write(b"HTTP/1.1 2")
    request.transport.write_eof()
    return web.Response(status=500)


async def speak_nonsense(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.write(b"\x00\xff nonsense\r\n\r\n")
    request.transport.close()
    return web.Response(status=500)


async def hang(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(20)
    return web.Response(status=500)


async def redirect(_: web.Request) -> web.StreamResponse:
    return web.Response(status=307, headers={"Location": "/elsewhere"})


async def answer_and_close(_: web.Request) -> web.StreamResponse:
    """Answer 2xx with keep-alive and close the connection: the next attempt on it meets a stale connection."""
    response = web.Response(status=200)
    response.force_close()
    response.headers["Connection"] = "keep-alive"
    return response


async def drip_a_failure(request: web.Request) -> web.StreamResponse:
    return await _drip(request, status=500)


async def never_end_a_success(request: web.Request) -> web.StreamResponse:
    """Send a 2xx at once and a body without end: this is a success."""
    return await _drip(request, status=200)


async def flood(request: web.Request) -> web.StreamResponse:
    """Fail with a body of 16 MiB."""
    response = web.StreamResponse(status=502)
    await response.prepare(request)
    for _ in range(256):
        await response.write(b"x" * 65536)
    return response


async def _drip(request: web.Request, *, status: int) -> web.StreamResponse:
    response = web.StreamResponse(status=status)
    await response.prepare(request)
    for _ in range(200):
        await response.write(b"x")
        await asyncio.sleep(0.1)
    return response


MISBEHAVIOURS: tuple[Misbehaviour, ...] = (
    reset,
    half_close,
    speak_nonsense,
    hang,
    redirect,
    answer_and_close,
    drip_a_failure,
    never_end_a_success,
    flood,
)


async def target_misbehaves(world: World) -> None:
    """A third of the events meet a misbehaviour at the first attempt, and are retried.

    One in nine hundred is throttled, which pauses the flow for a second and counts no attempt.
    """
    met: set[str] = set()

    def answer(receipt: Receipt) -> Answer | Awaitable[Answer]:
        number = number_of(receipt)
        if receipt.id in met or number % 3:
            return 200
        met.add(receipt.id)
        return 429 if number % 900 == 0 else MISBEHAVIOURS[number // 3 % len(MISBEHAVIOURS)]

    await world.delivers(300)
    before = world.rss_mib()
    world.target.answer = answer
    await world.delivers(3000)
    world.target.answer = lambda _: 200
    world.remark_memory(before)
    highest = max(receipt.attempt for receipt in world.target.receipts)
    assert highest == 2, f"attempt {highest} of an event whose second attempt succeeds"


SCENARIOS = (
    Scenario(
        entry="28",
        name="target resets, half-closes, sends garbage, hangs, redirects, throttles, drips, never ends, floods",
        fault=target_misbehaves,
        processor={"TARGET__TIMEOUT_S": "1"},
    ),
)
