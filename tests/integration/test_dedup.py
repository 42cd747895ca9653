"""The dedup window with real processes and a real broker: repeats are accepted, not published again, and never lost."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from eventflow.topology import Lane, lane_queue
from sandbox.broker.line import Line
from tests.support.amqp import Amqp
from tests.support.proxy import Confirms, Link, Proxy
from tests.support.services import API_KEY, Service, collector, starting
from tests.support.wait import eventually

KEY = {"X-Api-Key": API_KEY}


@pytest.fixture
async def proxy(broker_url: str) -> AsyncIterator[Proxy]:
    async with Proxy(broker_url) as one:
        yield one


@pytest.fixture
async def service(proxy: Proxy, flow: str, http: aiohttp.ClientSession) -> AsyncIterator[Service]:
    async with starting(http) as start:
        yield await start(deduplicating(proxy.url, flow))


@pytest.fixture
async def hasty(proxy: Proxy, flow: str, http: aiohttp.ClientSession) -> AsyncIterator[Service]:
    """Waits for a confirm no longer than by default."""
    async with starting(http) as start:
        yield await start(deduplicating(proxy.url, flow, COLLECTOR__CONFIRM_TIMEOUT_S="2"))


def deduplicating(
    broker_url: str, flow: str, *, dedup_s: str = "60", max_ids: str = "1000", **settings: str
) -> Service:
    source = f"FLOWS__{flow.upper()}__SOURCE__"
    window = {f"{source}DEDUP_S": dedup_s, f"{source}DEDUP_MAX_IDS": max_ids}
    return collector(broker_url, flow=flow, **window, **settings)


def publishing(link: Link) -> bool:
    return link.publishes


async def post(service: Service, http: aiohttp.ClientSession, event_id: str, body: bytes = b"{}") -> int:
    """Post an event and return the status; a 202 must have its id."""
    async with http.post(service.url, data=body, headers={**KEY, "Idempotency-Key": event_id}) as answer:
        assert answer.status != 202 or await answer.json() == {"id": event_id}
        return answer.status


async def post_batch(service: Service, http: aiohttp.ClientSession, *ids: str) -> tuple[int, object]:
    batch = [{"specversion": "1.0", "id": event_id, "source": "/s", "type": "t"} for event_id in ids]
    headers = {**KEY, "Content-Type": "application/cloudevents-batch+json"}
    async with http.post(service.url, data=json.dumps(batch).encode(), headers=headers) as answer:
        return answer.status, await answer.json()


async def queued(amqp: Amqp, flow: str) -> list[str]:
    """Take the ids of the events in the queue, in order."""
    return [message.headers["cloudEvents:id"] for message in await amqp.drain(lane_queue(flow, Lane.LIVE))]


async def in_flight(service: Service, http: aiohttp.ClientSession, requests: int) -> None:
    await service.counts(http, "eventflow_ingest_in_flight", requests)


async def test_a_repeat_gets_the_same_answer_and_is_not_published_in_both_ways_to_read_a_request(
    service: Service, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    async def chunks() -> AsyncIterator[bytes]:  # no plain request: aiohttp receives it
        yield b"{}"

    headers = {**KEY, "ce-id": "1", "ce-source": "/s"}
    for data in (b"{}", chunks(), b"{}"):
        async with http.post(service.url, data=data, headers=headers) as answer:
            assert (answer.status, await answer.json()) == (202, {"id": "1"})
    async with http.post(service.url, data=b"{}", headers={**headers, "ce-source": "/other"}) as answer:
        assert answer.status == 202
    for _ in range(2):  # without an id of the sender, each is an event of its own
        async with http.post(service.url, data=b"{}", headers=KEY) as answer:
            assert answer.status == 202
    ids = await queued(amqp, flow)
    assert ids[:2] == ["1", "1"]
    assert len(set(ids[2:])) == 2
    assert await service.metric(http, "eventflow_events_deduplicated_total") == 2
    assert await service.metric(http, "eventflow_events_accepted_total") == 6
    await service.counts(http, "eventflow_dedup_ids", 2)


async def test_a_twin_waits_for_the_confirm_of_the_first_event(
    service: Service, proxy: Proxy, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    with proxy.stalled(to_broker=False, applies=publishing):
        posts = [asyncio.create_task(post(service, http, "1")) for _ in range(5)]
        await in_flight(service, http, 5)
        assert not any(task.done() for task in posts)
    assert await asyncio.gather(*posts) == [202] * 5
    assert await queued(amqp, flow) == ["1"]
    assert await service.metric(http, "eventflow_events_deduplicated_total") == 4


async def test_the_first_senders_end_does_not_matter_to_a_twin(
    service: Service, proxy: Proxy, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    with proxy.stalled(to_broker=False, applies=publishing):
        first = asyncio.create_task(post(service, http, "1"))
        await in_flight(service, http, 1)
        twin = asyncio.create_task(post(service, http, "1"))
        await in_flight(service, http, 2)
        first.cancel()
    assert await twin == 202
    assert await queued(amqp, flow) == ["1"]


@pytest.mark.parametrize("confirms", [Confirms.DROP, Confirms.REFUSE])
async def test_twins_of_an_unconfirmed_event_are_refused_and_the_next_one_is_published(
    hasty: Service, proxy: Proxy, flow: str, amqp: Amqp, http: aiohttp.ClientSession, confirms: Confirms
) -> None:
    proxy.confirms = confirms
    assert await asyncio.gather(*(post(hasty, http, "1") for _ in range(3))) == [503] * 3
    proxy.confirms = Confirms.PASS
    assert await post(hasty, http, "1") == 202
    assert await post(hasty, http, "1") == 202
    assert set(await queued(amqp, flow)) == {"1"}
    assert await hasty.metric(http, "eventflow_events_deduplicated_total") == 1


async def test_a_confirm_that_comes_after_the_503_spares_a_second_publish(
    hasty: Service, proxy: Proxy, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    with proxy.stalled(to_broker=False, applies=publishing):
        assert await asyncio.gather(post(hasty, http, "1"), post(hasty, http, "1")) == [503, 503]
    await hasty.counts(http, "eventflow_dedup_ids", 1)
    assert await post(hasty, http, "1") == 202
    assert await queued(amqp, flow) == ["1"]


async def test_a_killed_collector_has_no_window_and_publishes_again(
    broker_url: str, proxy: Proxy, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    service = deduplicating(proxy.url, flow)
    service.process.start()
    await service.ready(http)
    assert await post(service, http, "accepted") == 202
    with proxy.stalled(to_broker=False, applies=publishing):
        unanswered = [asyncio.create_task(post(service, http, "pending")) for _ in range(2)]
        await in_flight(service, http, 2)
        service.process.kill()
        results = await asyncio.gather(*unanswered, return_exceptions=True)
        assert all(isinstance(result, aiohttp.ClientError) for result in results)
        proxy.cut()
    with service.process:
        await service.ready(http)
        for event_id in ("accepted", "pending", "accepted", "pending"):
            assert await post(service, http, event_id) == 202
    assert sorted(await queued(amqp, flow)) == ["accepted", "accepted", "pending", "pending"]


async def test_spooled_events_are_in_the_window_before_and_after_they_are_sent(
    broker_url: str, flow: str, amqp: Amqp, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with Line(broker_url) as line:
        service = deduplicating(line.url, flow, COLLECTOR__SPOOL_DIR=str(tmp_path / "spool"))
        with service.process:
            await service.ready(http)
            await line.cut()
            assert await asyncio.gather(*(post(service, http, "1") for _ in range(4))) == [202] * 4
            assert await post(service, http, "1") == 202
            await service.counts(http, "eventflow_spool_events", 1)
            await line.mend()
            await service.counts(http, "eventflow_spool_events", 0)
            assert await post(service, http, "1") == 202
            assert await service.metric(http, "eventflow_events_spooled_total") == 1
    assert await queued(amqp, flow) == ["1"]


async def test_several_workers_publish_a_repeat_at_most_once_each(
    broker_url: str, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    service = deduplicating(broker_url, flow, COLLECTOR__WORKERS="2")
    with service.process:
        await service.ready(http)
        for _ in range(20):  # a connection each
            async with aiohttp.ClientSession() as fresh:
                assert await post(service, fresh, "1") == 202
        ids = await queued(amqp, flow)
        assert set(ids) == {"1"}
        assert 1 <= len(ids) <= 2
        assert await service.metric(http, "eventflow_events_deduplicated_total") == 20 - len(ids)


async def test_a_batch_publishes_only_new_ids_and_each_once(
    service: Service, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    assert await post_batch(service, http, "a", "b") == (202, {"ids": ["a", "b"]})
    assert await post_batch(service, http, "b", "c", "c", "a") == (202, {"ids": ["b", "c", "c", "a"]})
    assert await post_batch(service, http, "a", "b", "c") == (202, {"ids": ["a", "b", "c"]})
    assert await queued(amqp, flow) == ["a", "b", "c"]


async def test_an_id_without_authentication_claims_nothing(
    service: Service, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    async with http.post(service.url, data=b"evil", headers={"X-Api-Key": "wrong", "Idempotency-Key": "1"}) as answer:
        assert answer.status == 401
    assert await post(service, http, "1", b"good") == 202
    [message] = await amqp.drain(lane_queue(flow, Lane.LIVE))
    assert message.body == b"good"


async def test_another_body_under_a_used_id_is_logged_and_counted(
    service: Service, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    assert await post(service, http, "1", b"one") == 202
    assert await post(service, http, "1", b"another") == 202
    assert await service.metric(http, "eventflow_dedup_bodies_differ_total") == 1
    [line] = await service.logs("event.deduplicated")
    assert (line["level"], line["event_id"], line["same_body"]) == ("warning", "1", False)
    assert await queued(amqp, flow) == ["1"]


async def test_ids_leave_after_their_time_and_early_if_the_window_is_full(
    broker_url: str, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    service = deduplicating(broker_url, flow, dedup_s="8", max_ids="2")
    with service.process:
        await service.ready(http)
        for event_id in ("a", "b", "c", "a"):
            assert await post(service, http, event_id) == 202
        assert await service.metric(http, "eventflow_dedup_ids_evicted_total") == 2
        await service.counts(http, "eventflow_dedup_ids", 2)
        await service.counts(http, "eventflow_dedup_ids", 0)
        assert await post(service, http, "a") == 202
        assert await queued(amqp, flow) == ["a", "b", "c", "a", "a"]


async def test_repeats_are_published_again_after_the_loss_of_the_queue(
    service: Service, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    assert await post(service, http, "1") == 202
    await amqp.delete(lane_queue(flow, Lane.LIVE))
    assert await post(service, http, "2") == 503  # the collector detects the loss, and declares the queue again
    await service.counts(http, "eventflow_queues_vanished_total", 1)

    async def accepted() -> bool:  # 503 until the queue is declared
        return await post(service, http, "1") == 202

    await eventually(accepted, what="202 for the repeat")
    assert await queued(amqp, flow) == ["1"]
