"""The collector over real HTTP and a real broker."""

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import aiohttp
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from eventflow.topology import Lane, lane_queue
from sandbox.ports import free_port
from tests.support.amqp import Amqp
from tests.support.http import exchange
from tests.support.services import API_KEY, Service, collector
from tests.support.wait import eventually

KEY = {"X-Api-Key": API_KEY}
LIMIT_BYTES = 10_000
CHUNK = b"1000\r\n" + b"x" * 4096 + b"\r\n"


@pytest.fixture
async def service(broker_url: str, flow: str, http: aiohttp.ClientSession) -> AsyncIterator[Service]:
    running = collector(
        broker_url,
        flow=flow,
        COLLECTOR__BODY_TIMEOUT_S="2",
        **{f"FLOWS__{flow.upper()}__SOURCE__MAX_BODY_BYTES": str(LIMIT_BYTES)},
    )
    with running.process:
        await running.ready(http)
        yield running
    assert "Traceback" not in running.output


async def test_202_means_that_the_event_is_in_the_queue(
    service: Service, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    async with http.post(service.url, data=b"\x00any\xff", headers={**KEY, "Content-Type": "text/x-any"}) as answer:
        assert answer.status == 202
        event_id = (await answer.json())["id"]
    [message] = await amqp.drain(lane_queue(flow, Lane.LIVE))
    assert message.body == b"\x00any\xff"
    assert message.content_type == "text/x-any"
    assert message.headers["cloudEvents:id"] == event_id
    assert message.delivery_mode == 2
    assert message.message_id != event_id


async def test_a_flow_that_is_not_enabled_has_no_address(
    broker_url: str, flow: str, http: aiohttp.ClientSession
) -> None:
    """Its events come from handlers and outboxes only, so it needs no key."""
    running = collector(broker_url, flow=flow, **{f"FLOWS__{flow.upper()}N__SOURCE__ENABLED": "false"})
    with running.process:
        await running.ready(http)
        for url, status in ((running.url, 202), (f"{running.url}n", 404), (f"{running.url}x", 404)):
            async with http.post(url, data=b"{}", headers=KEY) as answer:
                assert answer.status == status


async def test_users_own_recipe_is_taken_unchanged(
    service: Service, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    recipe = (
        b'{"id":"66d81702-77a4-4c3d-b40c-8c1d76ba3d24","name":"inventory-updated",'
        b'"body":"{\\"foo\\": \\"bar\\"}","timestamp":"1752443484.573"}'
    )
    async with http.post(service.url, data=recipe, headers=KEY) as answer:
        assert answer.status == 202
    [message] = await amqp.drain(lane_queue(flow, Lane.LIVE))
    assert message.body == recipe


@pytest.mark.parametrize(
    ("version", "asked", "connection"),
    [
        ("1.1", None, None),
        ("1.1", "close", "close"),
        ("1.0", None, None),
        ("1.0", "keep-alive", "keep-alive"),
    ],
)
async def test_202_says_whether_the_connection_is_kept_where_the_version_does_not(
    service: Service, version: str, asked: str | None, connection: str | None
) -> None:
    lines = [f"POST {urlsplit(service.url).path} HTTP/{version}", "Host: x", f"X-Api-Key: {API_KEY}", 'ce-id: "1"']
    lines += ["Content-Length: 2"] if asked is None else ["Content-Length: 2", f"Connection: {asked}"]
    answer = await exchange(service.url, ("\r\n".join(lines) + "\r\n\r\n{}").encode())
    assert (answer.status, answer.json) == (202, {"id": "1"})
    assert answer.headers.get("connection") == connection
    assert answer.headers["server"] == "event-flow"
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    sent_s = parsedate_to_datetime(answer.headers["date"]).timestamp()
    assert abs(time.time() - sent_s) < 30


async def test_requests_sent_at_once_on_one_connection_are_answered_in_order(service: Service) -> None:
    path = urlsplit(service.url).path
    head = "POST {} HTTP/1.1\r\nHost: x\r\nX-Api-Key: {}\r\nce-id: {}\r\nContent-Length: 2\r\n{}\r\n{{}}"
    requests = [head.format(path, API_KEY, number, "") for number in range(50)]
    requests.append(head.format(path, API_KEY, "last", "Connection: close\r\n"))
    reader, writer = await asyncio.open_connection(urlsplit(service.url).hostname, urlsplit(service.url).port)
    writer.write("".join(requests).encode())
    async with asyncio.timeout(30):
        answers = (await reader.read()).decode()
    writer.close()
    assert re.findall(r'\{"id": "(\w+)"\}', answers) == [*map(str, range(50)), "last"]
    assert answers.count("HTTP/1.1 202 Accepted\r\n") == 51


@pytest.mark.parametrize(
    "header", ["ce-id", "webhook-id", "X-Shopify-Webhook-Id", "X-GitHub-Delivery", "Idempotency-Key"]
)
async def test_senders_id_is_the_events_id(service: Service, http: aiohttp.ClientSession, header: str) -> None:
    async with http.post(service.url, data=b"{}", headers={**KEY, header: "abc-1"}) as answer:
        assert await answer.json() == {"id": "abc-1"}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"headers": {}}, 401),
        ({"headers": {"X-Api-Key": "wrong"}}, 401),
        ({"headers": {"X-Api-Key": "test-kéy"}}, 401),
        ({"headers": {**KEY, "Idempotency-Key": "x" * 300}}, 400),
        ({"headers": {**KEY, "ce-specversion": "1.0", "ce-id": "1", "ce-source": "s", "ce-type": "x" * 300}}, 400),
        ({"headers": {**KEY, "Content-Encoding": "zstd"}}, 415),
        ({"headers": {**KEY, "Content-Encoding": "identity, zstd"}}, 415),
        ({"headers": [*KEY.items(), ("Content-Encoding", "identity"), ("Content-Encoding", "zstd")]}, 415),
        ({"headers": [*KEY.items(), ("Content-Encoding", "identity"), ("Content-Encoding", "gzip")]}, 400),
        ({"data": b"x" * (LIMIT_BYTES + 1)}, 413),
        ({"method": "GET"}, 405),
        ({"method": "PUT"}, 405),
        ({"path": "/events/nobody"}, 404),
        ({"path": "/"}, 404),
        ({"path": "/events/a/b"}, 404),
    ],
)
async def test_bad_requests_get_a_problem_answer_and_leave_nothing_behind(
    service: Service, flow: str, amqp: Amqp, http: aiohttp.ClientSession, change: dict, status: int
) -> None:
    request = {"method": "POST", "path": f"/events/{flow}", "headers": KEY, "data": b"{}", **change}
    url = service.url.removesuffix(f"/events/{flow}") + request.pop("path")
    async with http.request(request.pop("method"), url, **request) as answer:
        assert answer.status == status
        assert answer.content_type == "application/problem+json"
        problem = await answer.json()
        assert problem["status"] == status
        assert problem["detail"]
    await _still_matches_confirms(service, http)
    assert await amqp.depth(lane_queue(flow, Lane.LIVE)) == 1


@pytest.mark.parametrize(
    ("name", "raw", "status"),
    [
        ("a chunked body over the limit", b"Transfer-Encoding: chunked\r\n\r\n" + CHUNK * 3, 413),
        ("a body that never ends", b"Content-Length: 50\r\n\r\nonly this", 408),
        ("a chunked body that never ends", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", 408),
        ("bad chunking", b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n", 400),
        ("control characters in a header", b"X-A: \x01\x02\r\nContent-Length: 1\r\n\r\nx", 400),
        ("bytes that are not UTF-8 in an id", b"Idempotency-Key: \xff\xfe\r\nContent-Length: 1\r\n\r\nx", 400),
        ("two lengths", b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400),
        ("thousands of headers", b"".join(b"X-%d: 1\r\n" % i for i in range(3000)) + b"Content-Length: 0\r\n\r\n", 431),
        ("an oversized header", b"X-A: " + b"a" * 20_000 + b"\r\nContent-Length: 0\r\n\r\n", 431),
    ],
)
async def test_malformed_http_gets_a_problem_answer_and_the_next_request_is_served(
    service: Service, flow: str, amqp: Amqp, http: aiohttp.ClientSession, name: str, raw: bytes, status: int
) -> None:
    head = f"POST /events/{flow} HTTP/1.1\r\nHost: x\r\nX-Api-Key: {API_KEY}\r\n".encode()
    answer = await exchange(service.url, head + raw)
    assert answer.status == status, answer
    assert answer.content_type == "application/problem+json"
    await _still_matches_confirms(service, http)
    assert await amqp.depth(lane_queue(flow, Lane.LIVE)) == 1


async def test_a_torn_request_publishes_nothing(
    service: Service, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    head = f"POST /events/{flow} HTTP/1.1\r\nHost: x\r\nX-Api-Key: {API_KEY}\r\nContent-Length: 50\r\n\r\npart"
    await exchange(service.url, head.encode(), hang_up=True)
    await _still_matches_confirms(service, http)
    assert await amqp.depth(lane_queue(flow, Lane.LIVE)) == 1


async def test_several_keys_are_accepted(broker_url: str, flow: str, http: aiohttp.ClientSession) -> None:
    running = collector(broker_url, flow=flow, **{f"FLOWS__{flow.upper()}__SOURCE__API_KEYS": "old-one-, new-one-"})
    with running.process:
        await running.ready(http)
        for key in ("old-one-", "new-one-"):
            async with http.post(running.url, data=b"{}", headers={"X-Api-Key": key}) as answer:
                assert answer.status == 202
    assert "old-one-" not in running.output


async def test_too_many_bytes_in_flight_are_refused_and_given_back(
    broker_url: str, flow: str, http: aiohttp.ClientSession
) -> None:
    running = collector(broker_url, flow=flow, COLLECTOR__MAX_IN_FLIGHT_BYTES="5000")
    with running.process:
        await running.ready(http)
        for _ in range(3):
            async with http.post(running.url, data=b"x" * 6000, headers=KEY) as answer:
                assert answer.status == 503
                assert answer.headers["Retry-After"]
            async with http.post(running.url, data=b"x" * 4000, headers=KEY) as answer:
                assert answer.status == 202


async def test_it_starts_while_the_broker_is_down_and_says_so(flow: str, http: aiohttp.ClientSession) -> None:
    away = f"amqp://guest:hidden-password@127.0.0.1:{free_port()}/"
    running = collector(away, flow=flow, COLLECTOR__CONFIRM_TIMEOUT_S="2")
    with running.process:

        async def answers() -> bool:
            return await running.readyz(http) == 503

        await eventually(answers, what="the collector up and not ready")
        async with http.post(running.url, data=b"{}", headers=KEY) as answer:
            assert answer.status == 503
            assert answer.headers["Retry-After"]
            assert answer.content_type == "application/problem+json"
        async with http.get(f"{running.admin_url}/livez") as answer:
            assert answer.status == 200
    assert running.process.returncode == 0
    assert "hidden-password" not in running.output


async def test_sigterm_finishes_what_is_in_flight_and_exits_0(
    service: Service, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    async def post(number: int) -> bool:
        try:
            async with http.post(service.url, data=b"{}", headers={**KEY, "Idempotency-Key": str(number)}) as answer:
                return answer.status == 202
        except aiohttp.ClientError:
            return False  # came after it had stopped to accept

    posts = [asyncio.create_task(post(number)) for number in range(300)]
    await asyncio.sleep(0)
    await eventually(lambda: any(task.done() for task in posts), what="the first answer")
    status = await asyncio.to_thread(service.process.stop)
    accepted = {str(number) for number, done in enumerate(await asyncio.gather(*posts)) if done}
    assert status == 0
    queued = {message.headers["cloudEvents:id"] for message in await amqp.drain(lane_queue(flow, Lane.LIVE))}
    assert accepted
    assert accepted <= queued


async def test_workers_share_the_socket_their_metrics_are_summed_and_a_dead_one_is_replaced(
    broker_url: str, flow: str, http: aiohttp.ClientSession
) -> None:
    running = collector(broker_url, flow=flow, COLLECTOR__WORKERS="2")
    with running.process:
        await running.ready(http)

        async def state() -> dict:
            async with http.get(f"{running.admin_url}/readyz") as answer:
                return await answer.json()

        async def both_ready() -> bool:
            return (await state())["ready_workers"] == 2

        async def send(count: int) -> None:
            for _ in range(count):  # a connection each, so that both workers get some
                async with aiohttp.ClientSession() as fresh, fresh.post(running.url, data=b"{}", headers=KEY) as answer:
                    assert answer.status == 202

        await eventually(both_ready, what="both workers ready")
        await send(20)
        assert await running.metric(http, "eventflow_events_accepted_total") == 20
        openmetrics = {"Accept": "application/openmetrics-text; version=1.0.0"}
        async with http.get(f"{running.admin_url}/metrics", headers=openmetrics) as answer:
            families = {family.name: family for family in text_string_to_metric_families(await answer.text())}
        assert sum(sample.value for sample in families["eventflow_events_accepted"].samples) == 20
        assert families["eventflow_spool_max_bytes"].samples[0].value == 0
        first = next(json.loads(line) for line in running.output.splitlines() if "worker.started" in line)
        os.kill(first["pid"], signal.SIGKILL)
        await eventually(lambda: running.output.count("worker.started") == 3, what="a third worker")
        await eventually(both_ready, what="both workers ready again")
        await send(10)
        assert await running.metric(http, "eventflow_events_accepted_total") == 30
    assert running.process.returncode == 0


async def test_workers_that_cannot_work_with_a_queue_end_the_collector_with_the_brokers_words(
    broker_url: str, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    await amqp.declare_flow(flow)
    await amqp.delete(lane_queue(flow, Lane.LIVE))
    async with amqp.connection.channel() as channel:
        await channel.declare_queue(
            lane_queue(flow, Lane.LIVE), durable=True, arguments={"x-queue-type": "quorum", "x-max-length": 5}
        )
    running = collector(broker_url, flow=flow, COLLECTOR__WORKERS="2")
    running.process.start()
    status = await asyncio.to_thread(running.process.wait, 20)
    assert status not in {0, None}
    assert "inequivalent arg" in running.output
    assert lane_queue(flow, Lane.LIVE) in running.output


async def _still_matches_confirms(service: Service, http: aiohttp.ClientSession) -> None:
    async with http.post(service.url, data=b"{}", headers={**KEY, "Idempotency-Key": "next"}) as answer:
        assert answer.status == 202
        assert await answer.json() == {"id": "next"}
