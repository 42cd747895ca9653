"""The emulated source and the target talk to each other in one process, over loopback."""

import asyncio
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sandbox.source.bodies import Body
from sandbox.source.sending import Plan, Sent, send
from sandbox.target.answers import Target
from sandbox.target.app import create_app
from sandbox.target.audit import Audit
from sandbox.target.behaviour import Behaviour

BODY = Body(name="b", content=b'{"caf\xc3\xa9":1}\n')


@pytest.fixture
async def target() -> Target:
    return Target(Behaviour(rate=0), keep_bodies=True)


@pytest.fixture
async def target_url(target: Target) -> AsyncIterator[str]:
    async with TestServer(create_app(target)) as server:
        yield str(server.make_url("/"))


@pytest.fixture
async def collector_url(target_url: str) -> AsyncIterator[str]:
    """A stand-in that passes every event to the target at once, twice when its body says so."""

    async def take(request: web.Request) -> web.Response:
        headers = {"ce-id": request.headers["Idempotency-Key"], "eventflow-attempt": "1"}
        body = await request.read()
        async with aiohttp.ClientSession() as session:
            for _ in range(2 if b"twice" in body else 1):
                async with session.post(f"{target_url}hook", data=body, headers=headers) as answer:
                    accepted = answer.status == 200
        return web.Response(status=202 if accepted else 503)

    app = web.Application()
    app.router.add_post("/events", take)
    async with TestServer(app) as server:
        yield str(server.make_url("/events"))


async def test_what_is_accepted_is_found_at_the_target(collector_url: str, target_url: str) -> None:
    report = await send(Plan(url=collector_url, count=20, rate_per_s=500, bodies=[BODY]))
    async with Audit(f"{target_url}_audit") as audit:
        delivery = await audit.wait_for(report.accepted_ids, timeout_s=30)
    assert (delivery.expected, delivery.delivered, delivery.duplicates) == (20, 20, 0)


async def test_lost_and_duplicated_events_are_told(collector_url: str, target_url: str) -> None:
    twice = Body(name="t", content=b'"twice"')
    report = await send(Plan(url=collector_url, count=3, bodies=[twice]))
    async with Audit(f"{target_url}_audit") as audit:
        delivery = await audit.wait_for({*report.accepted_ids, "never-sent"}, timeout_s=0)
    assert delivery.lost_ids == {"never-sent"}
    assert delivery.duplicates == 3


async def test_a_stop_ends_the_sending_and_what_was_sent_is_told(collector_url: str) -> None:
    stop = asyncio.Event()

    def stop_at_the_fifth(_: Sent) -> None:
        told.append(1)
        if len(told) == 5:
            stop.set()

    told: list[int] = []
    async with asyncio.timeout(60):
        report = await send(
            Plan(url=collector_url, count=10_000, rate_per_s=100, bodies=[BODY]), on_sent=stop_at_the_fifth, stop=stop
        )
    assert 5 <= len(report.accepted_ids) == len(report.sent) < 1000  # a busy machine tells late


async def test_bodies_arrive_byte_for_byte(collector_url: str, target: Target, target_url: str) -> None:
    report = await send(Plan(url=collector_url, count=1, bodies=[BODY]))
    (event_id,) = report.accepted_ids
    async with aiohttp.ClientSession() as session, session.get(f"{target_url}_audit/body/{event_id}") as answer:
        assert await answer.read() == BODY.content
    assert [row["attempt"] for row in target.ledger.receipts()] == [1]


async def test_what_is_not_accepted_is_counted_by_its_reason(collector_url: str, target: Target) -> None:
    target.change({"outage": True})
    report = await send(Plan(url=collector_url, count=4, bodies=[BODY], retries=1))
    assert report.accepted_ids == set()
    assert report.problems == {"503 Service Unavailable": 4}
    assert target.ledger.summary()["by_status"] == {"503": 8}


async def test_every_arrival_is_told_when_it_came_refused_ones_too(target: Target, target_url: str) -> None:
    target.change({"outage": True})
    async with aiohttp.ClientSession() as session, Audit(f"{target_url}_audit") as audit:
        await (await session.post(target_url, data=b"{}")).read()
        (first_s,) = await audit.arrivals_s()
        assert 0 <= time.monotonic() - first_s < 30
        await (await session.post(target_url, data=b"{}")).read()
        (second_s,) = await audit.arrivals_s(after_s=first_s)
    assert second_s > first_s


async def test_a_target_that_was_late_says_so(target: Target, target_url: str) -> None:
    async with Audit(f"{target_url}_audit") as audit:
        await audit.summary()
        began_s = time.monotonic()
        time.sleep(0.2)  # noqa: ASYNC251 - the target's event loop is this one
        async with asyncio.timeout(30):
            while not (stalls := [late_s for ended_s, late_s in await audit.stalls_s() if ended_s > began_s]):
                pass
    assert 0.15 < max(stalls) < 30


async def test_behaviour_is_changed_over_http(target: Target, target_url: str) -> None:
    async with aiohttp.ClientSession() as session:
        changes = {"rate": 5, "burst": 7, "fail_ids": ["x"]}
        async with session.put(f"{target_url}_behaviour", json=changes) as answer:
            assert (await answer.json())["burst"] == 7
        async with session.put(f"{target_url}_behaviour", json={"colour": "green"}) as answer:
            assert answer.status == 400
        async with session.post(f"{target_url}_audit/outage?on=1") as answer:
            assert (await answer.json())["outage"]
    assert target.behaviour == Behaviour(rate=5, burst=7, outage=True, fail_ids=frozenset({"x"}))


async def test_audit_can_be_reset(target: Target, target_url: str) -> None:
    async with aiohttp.ClientSession() as session:
        await (await session.post(target_url, data=b"{}")).read()
        assert (await (await session.get(f"{target_url}_audit")).json())["received"] == 1
        await session.delete(f"{target_url}_audit")
        assert (await (await session.get(f"{target_url}_audit")).json())["received"] == 0
