"""Answers of targets, byte by byte: a real processor in front of a target that speaks raw TCP."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest

from eventflow.topology import Lane, dead_queue, lane_queue
from tests.integration.test_processor import message
from tests.support.amqp import Amqp
from tests.support.hostile import Ending, hostile_answer
from tests.support.raw_target import RawRequest, RawTarget
from tests.support.services import Service, processor, starting
from tests.support.sockets import until_read
from tests.support.wait import eventually

Start = Callable[..., Awaitable[Service]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"


@pytest.fixture(params=["lean", "aiohttp"])
async def start(
    request: pytest.FixtureRequest, broker_url: str, flow: str, http: aiohttp.ClientSession, amqp: Amqp
) -> AsyncIterator[Start]:
    """Starts a processor of the flow with each HTTP client, its queues declared before."""
    await amqp.declare_flow(flow)
    async with starting(http) as start:

        async def start_one(target_url: str, **settings: str) -> Service:
            settings |= {"TARGET__CLIENT": request.param}
            return await start(processor(broker_url, flow=flow, target_url=target_url, **settings))

        yield start_one


def always(answer: bytes) -> Callable[[RawRequest, asyncio.StreamWriter], Awaitable[None]]:
    async def write(_: RawRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    return write


async def delivered(service: Service, http: aiohttp.ClientSession, events: int) -> None:
    async def is_so() -> bool:
        return await service.metric(http, "eventflow_events_delivered_total") == events

    await eventually(is_so, within_s=10, what=lambda: f"{events} delivered\n{service.output}")


# Surplus bytes

SURPLUS = {
    "a second 200": OK,
    "a second 200 without a body": NO_CONTENT,
    "the beginning of a second answer": b"HTTP/1.1 200 OK\r\nConte",
    "a byte": b"H",
    "garbage": b"\x00\xff",
    "an interim answer": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
    "a 408": b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "a longer body than was stated": b"okok",
}


FIRST = {"stated length": OK, "no body": NO_CONTENT, "chunked": CHUNKED}


async def test_a_surplus_answer_is_nobodys(start: Start, flow: str, amqp: Amqp, http: aiohttp.ClientSession) -> None:
    """Reproduced on 0.1.0: two complete 200s for one request, 20 events: 20 delivered, 10 taken by the target.

    A connection that has carried surplus bytes is not read any more, so an event that goes out on it is lost.
    """

    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        case, number = request.id.rsplit("/", 1)
        if request.connection in spoiled:
            used_again.append(request.id)
            await asyncio.sleep(60)
        if number == "1":
            writer.write(OK)
            return
        spoiled.add(request.connection)
        first, surplus, when = case.split("/")
        if when == "late":
            writer.write(FIRST[first])
            await is_delivered[case].wait()
            writer.write(SURPLUS[surplus])
        else:
            writer.write(FIRST[first] + SURPLUS[surplus])

    cases = [f"{first}/{surplus}/{when}" for first in FIRST for surplus in SURPLUS for when in ("at once", "late")]
    is_delivered = {case: asyncio.Event() for case in cases}
    spoiled: set[int] = set()
    used_again: list[str] = []
    async with RawTarget(answer) as target:
        service = await start(target.url, TARGET__CONCURRENCY="1")
        for number, case in enumerate(cases):
            await amqp.publish(lane_queue(flow, Lane.LIVE), message(f"{case}/0"))
            await delivered(service, http, number * 2 + 1)
            is_delivered[case].set()
            if case.endswith("late"):
                await until_read(target.writers[-1])
            await amqp.publish(lane_queue(flow, Lane.LIVE), message(f"{case}/1"))
            await delivered(service, http, number * 2 + 2)
        assert not used_again
        assert target.ids == [f"{case}/{number}" for case in cases for number in "01"]
        assert {request.attempt for request in target.requests} == {1}


async def test_twenty_events_at_a_target_that_answers_twice_are_twenty(
    start: Start, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    """Reproduced on 0.1.0, with the second answer a moment later, as above: 20 "delivered", 10 taken."""

    async def answer(_: RawRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + OK)
        await asyncio.sleep(60)

    async with RawTarget(answer) as target:
        service = await start(target.url, TARGET__RATE_PER_S="40")
        await amqp.publish(lane_queue(flow, Lane.LIVE), *(message(str(number)) for number in range(20)))
        await delivered(service, http, 20)
        assert sorted(target.ids, key=int) == [str(number) for number in range(20)]


async def test_an_answer_to_no_request_is_none(
    start: Start, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    """A target that says 408 to a kept connection just as the next request comes in: the request is repeated."""

    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(OK if request.number == 0 else SURPLUS["a 408"])
        if request.number:
            writer.close()

    async with RawTarget(answer) as target:
        service = await start(target.url, TARGET__CONCURRENCY="1")
        await amqp.publish(lane_queue(flow, Lane.LIVE), *(message(str(number)) for number in range(6)))
        await delivered(service, http, 6)
        assert {request.attempt for request in target.requests} == {1}, "no attempt was counted"


async def test_connections_are_kept_for_the_next_request_all_the_same(
    start: Start, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    answers = [OK, NO_CONTENT, CHUNKED, b"HTTP/1.1 404 Not Found\nContent-Length: 3\n\nno."]

    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        for byte in answers[request.number % 4] if request.number < 4 else [answers[request.number % 4]]:
            writer.write(bytes([byte]) if isinstance(byte, int) else byte)
            await asyncio.sleep(0)

    async with RawTarget(answer) as target:
        service = await start(target.url, TARGET__CONCURRENCY="1", TARGET__SUCCESS_STATUS="2xx,404")
        await amqp.publish(lane_queue(flow, Lane.LIVE), *(message(str(number)) for number in range(40)))
        await delivered(service, http, 40)
        # Not one for all 40: a connection can be released a moment after the next attempt has looked for one.
        assert len({request.connection for request in target.requests}) < 20


async def test_a_repeat_after_a_stale_connection_uses_a_new_one(
    start: Start, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    """A balancer that forgets all its connections at once must not cost an attempt, however many are kept."""

    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        if request.number:
            writer.transport.abort()
            return
        while len({request.connection for request in target.requests}) < 3:  # noqa: ASYNC110 - three at a time
            await asyncio.sleep(0.01)
        writer.write(OK)

    async with RawTarget(answer) as target:
        service = await start(target.url, TARGET__CONCURRENCY="3")
        await amqp.publish(lane_queue(flow, Lane.LIVE), *(message(str(number)) for number in range(3)))
        await delivered(service, http, 3)
        await amqp.publish(lane_queue(flow, Lane.LIVE), message("last"))
        await delivered(service, http, 4)
        assert [(request.attempt, request.number) for request in target.of("last")] == [(1, 1), (1, 0)]


# Heads that are readable, and heads that are not

SUCCESSES = {
    "a date with an absurd offset": b"Retry-After: Mon, 01 Jan 2024 00:00:00 +9999999999999999",
    "a date in a year beyond all": b"Retry-After: Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
    "a header line of 9 000 bytes": b"X-Long: " + b"x" * 9000,
    "a head of 64 KiB": b"X-Long: " + b"x" * 65_536,
    "3 000 headers": b"\r\n".join(b"X-%d: y" % number for number in range(3000)),
    "a cookie like no other": b"Set-Cookie: =\xff;;=;Path;\x01",
}


async def test_a_2xx_with_a_strange_header_is_a_success(
    start: Start, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    """Reproduced on 0.1.0: OverflowError, "Got more than 8190 bytes", "Too many headers": counted as failures."""

    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n%b\r\n\r\n" % SUCCESSES[request.id])

    async with RawTarget(answer) as target:
        service = await start(target.url, TARGET__CONCURRENCY="1", TARGET__MAX_RETRY_AFTER_S="0.1")
        await amqp.publish(lane_queue(flow, Lane.LIVE), *map(message, SUCCESSES))
        await delivered(service, http, len(SUCCESSES))
        assert target.ids == list(SUCCESSES)
        assert {request.connection for request in target.requests} == {0}, "the connection is as good as any"


BROKEN_BODIES = {
    "a chunk size that is none": b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n",
    "a chunk without its end": b"Transfer-Encoding: chunked\r\n\r\n2\r\nokXX",
    "a short body": b"Content-Length: 10\r\n\r\nok",
    "compressed nonsense": b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok",
}


async def test_a_2xx_with_a_broken_body_is_a_success(
    start: Start, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    """Reproduced on 0.1.0: a broken chunk in the same segment as the head: `connection`, and the breaker opens."""

    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        body, segments = request.id.split("/")
        text = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n" + BROKEN_BODIES[body]
        head, end, rest = text.rpartition(b"\r\n\r\n") if segments == "2" else (text, b"", b"")
        writer.write(head + end)
        await asyncio.sleep(0.02 if rest else 0)
        writer.write(rest)
        writer.close()

    ids = [f"{body}/{segments}" for body in BROKEN_BODIES for segments in (1, 2)]
    async with RawTarget(answer) as target:
        service = await start(target.url, TARGET__CONCURRENCY="1", TARGET__TIMEOUT_S="20")
        await amqp.publish(lane_queue(flow, Lane.LIVE), *map(message, ids))
        await delivered(service, http, len(ids))
        assert target.ids == ids


UNREADABLE = {
    "nothing": b"",
    "half a status line": b"HTTP/1.1 20",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "a head without its end": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
    "nonsense": b"\x00\xff\r\n\r\n",
    "a head beyond all bounds": b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"x" * 300_000 + b"\r\n\r\n",
    "interim answers only": b"HTTP/1.1 100 Continue\r\n\r\n" * 3,
    "interim answers beyond all bounds": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 20_000 + OK,
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n" + OK,
    "empty lines only": b"\r\n" * 100_000,
}


async def test_a_head_that_cannot_be_read_is_a_failure(start: Start, flow: str, amqp: Amqp) -> None:
    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(UNREADABLE[request.id] if request.attempt == 1 else OK)
        writer.close()

    async with RawTarget(answer) as target:
        await start(target.url, TARGET__CONCURRENCY="1")
        for event_id in UNREADABLE:
            await amqp.publish(lane_queue(flow, Lane.LIVE), message(event_id))
            await eventually(
                lambda event_id=event_id: [request.attempt for request in target.of(event_id)] == [1, 2],
                within_s=10,
                what=lambda event_id=event_id: f"a second, counted attempt after {event_id}: {target.of(event_id)}",
            )


# Rules for success


def json_answer(document: object, *, status: str = "200 OK") -> bytes:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status.encode(), len(body), body)


GRAPHQL = {"TARGET__FEEDBACK": "shopify-graphql"}

REFUSALS: list[tuple[dict[str, str], list[object]]] = [
    (
        GRAPHQL,
        [
            {"errors": [{"message": "x", "extensions": {"code": "MAX_COST_EXCEEDED"}}]},
            {"errors": [{"message": "x", "extensions": {"code": "INTERNAL_SERVER_ERROR"}}]},
            {"errors": "[API] Invalid API key", "data": None},
            {"errors": [{"message": "denied"}], "data": {"orderUpdate": None}},
            {"errors": [{"message": "denied"}], "data": []},  # monday.com
            {"error_code": "ComplexityException", "error_message": "Complexity budget exhausted"},  # the same, of 2024
            b"<html>Back soon</html>",
        ],
    ),
    (
        {**GRAPHQL, "TARGET__USER_ERRORS_FAIL": "true"},
        [
            {"data": {"orderUpdate": {"order": None, "userErrors": [{"field": ["id"], "message": "no such order"}]}}},
            {"data": {"a": {"customerUserErrors": [{"message": "no"}]}, "b": {"id": 1}}},
        ],
    ),
    (
        {"TARGET__FAILURE_POINTER": "/error,/data/a/userErrors/0"},
        [
            {"data": {"a": {"userErrors": [{"message": "no"}]}}},
            {"ok": False, "error": "channel_not_found"},
            {"error": 0},
            b'{"error',
            b"OK",
            b'["%b"]' % (b"x" * 2_000_000),
        ],
    ),
    ({"TARGET__SUCCESS_POINTER": "/ok,/ts"}, [{"ok": False, "ts": "1"}, {"ok": True}, {"ok": True, "ts": None}, b""]),
]


@pytest.mark.parametrize(("settings", "documents"), REFUSALS)
async def test_a_refusal_under_200_is_a_failure(
    start: Start, flow: str, amqp: Amqp, settings: dict[str, str], documents: list[object]
) -> None:
    """github/docs#22607, renovate#21861: `errors` under 200 counted as delivered. And its like at other targets."""

    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(json_answer(documents[int(request.id)]))

    async with RawTarget(answer) as target:
        await start(target.url, TARGET__MAX_ATTEMPTS="2", **settings)
        await amqp.publish(lane_queue(flow, Lane.LIVE), *(message(str(number)) for number in range(len(documents))))

        async def all_dead() -> bool:
            return await amqp.depth(dead_queue(flow)) == len(documents)

        await eventually(all_dead, within_s=10, what=lambda: f"dead letters; requests: {target.requests}")
        for letter in await amqp.drain(dead_queue(flow)):
            assert letter.headers["eventflow-attempt"] == 2
            assert letter.headers["eventflow-last-status"] == 200
            assert letter.headers["eventflow-reason"] == "refused"


ACCEPTED: list[tuple[dict[str, str], list[bytes]]] = [
    (
        GRAPHQL,
        [
            json_answer({"data": {"a": {"id": 1}}, "errors": [{"message": "x"}]}),
            json_answer({"data": {"a": {"userErrors": [{"message": "x"}]}}}),
            json_answer({"data": {"a": None}, "errors": []}),
        ],
    ),
    (
        {"TARGET__FAILURE_POINTER": "/error,/errors/0"},
        [json_answer({"error": None}), json_answer({"errors": []}), json_answer({"error": False}), NO_CONTENT],
    ),
    (
        {"TARGET__SUCCESS_POINTER": "/results/0/a~1b", "TARGET__SUCCESS_STATUS": "200-204,304,5xx"},
        [
            json_answer({"results": [{"a/b": 0}]}),
            b"HTTP/1.1 200 OK\r\n\r\n" + json.dumps({"results": [{"a/b": "until the end"}]}).encode(),
        ],
    ),
    (
        {"TARGET__SUCCESS_STATUS": "200-204, 304,409"},
        [json_answer({}, status="409 Conflict"), b"HTTP/1.1 304 Not Modified\r\n\r\n", NO_CONTENT],
    ),
]


@pytest.mark.parametrize(("settings", "answers"), ACCEPTED)
async def test_what_is_no_refusal_is_a_success(
    start: Start, flow: str, amqp: Amqp, http: aiohttp.ClientSession, settings: dict[str, str], answers: list[bytes]
) -> None:
    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(answers[int(request.id)])
        if b"until the end" in answers[int(request.id)]:
            writer.close()

    async with RawTarget(answer) as target:
        service = await start(target.url, TARGET__CONCURRENCY="1", **settings)
        await amqp.publish(lane_queue(flow, Lane.LIVE), *(message(str(number)) for number in range(len(answers))))
        await delivered(service, http, len(answers))
        assert target.ids == [str(number) for number in range(len(answers))]


async def test_a_status_that_is_no_success_by_setting_is_a_failure(start: Start, flow: str, amqp: Amqp) -> None:
    async with RawTarget(always(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")) as target:
        await start(target.url, TARGET__MAX_ATTEMPTS="2", TARGET__SUCCESS_STATUS="200,202")
        await amqp.publish(lane_queue(flow, Lane.LIVE), message("e"))
        await eventually(lambda: [request.attempt for request in target.requests] == [1, 2], what="a counted attempt")


async def test_a_body_on_which_success_depends_is_awaited_within_the_deadline(
    start: Start, flow: str, amqp: Amqp
) -> None:
    async def drip(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"ok": true')

    async with RawTarget(drip) as target:
        await start(target.url, TARGET__MAX_ATTEMPTS="1", TARGET__TIMEOUT_S="0.5", TARGET__SUCCESS_POINTER="/ok")
        await amqp.publish(lane_queue(flow, Lane.LIVE), message("e"))

        async def dead() -> bool:
            return await amqp.depth(dead_queue(flow)) == 1

        await eventually(dead, what="the dead letter")
        [letter] = await amqp.drain(dead_queue(flow))
        assert letter.headers["eventflow-reason"] == "timeout"
        assert letter.headers["eventflow-last-status"] == 200


# Words that steer


THROTTLED = [
    {"type": "RATE_LIMITED", "message": "API rate limit exceeded"},
    {"message": "Throttled"},
    {"message": "x", "extensions": {"code": "THROTTLED"}},
    {"message": "x", "extensions": {"code": "RATELIMITED"}},
    {"message": "x", "code": "rate-limited"},
    {"message": "Too many requests."},
]


async def test_a_throttle_word_under_200_costs_no_attempt(
    start: Start, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    """renovate#21861: `RATE_LIMITED` under 200 counted as delivered."""

    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        is_first = len(target.of(request.id)) == 1
        writer.write(json_answer({"errors": [THROTTLED[int(request.id)]]} if is_first else {"data": {"a": {}}}))

    async with RawTarget(answer) as target:
        service = await start(target.url, TARGET__CONCURRENCY="1", TARGET__MAX_RETRY_AFTER_S="0.2", **GRAPHQL)
        await amqp.publish(lane_queue(flow, Lane.LIVE), *(message(str(number)) for number in range(len(THROTTLED))))
        await delivered(service, http, len(THROTTLED))
        assert [(request.id, request.attempt) for request in target.requests] == [
            (str(number), 1) for number in range(len(THROTTLED)) for _ in range(2)
        ]
        assert await service.metric(http, "eventflow_throttled_total") == len(THROTTLED)


WAITS = [
    b"403 Forbidden\r\nRetry-After: 1",
    b"503 Service Unavailable\r\nRetry-After: 1",
    b"403 Forbidden\r\nX-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 1",
    b"429 Too Many Requests\r\nX-Rate-Limit-Remaining: 0\r\nX-Rate-Limit-Reset: 1",
    b"200 OK\r\nX-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 1",
]


async def test_an_answer_that_asks_to_wait_pauses_the_flow_and_costs_no_attempt(
    start: Start, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    """automatic-releases#236: 403 with Retry-After: three attempts each in 2.1 s, then dead."""

    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        head = b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % WAITS[int(request.id)]
        writer.write(head if len(target.of(request.id)) == 1 else OK)

    async with RawTarget(answer) as target:
        service = await start(target.url, TARGET__CONCURRENCY="1")
        await amqp.publish(lane_queue(flow, Lane.LIVE), *(message(str(number)) for number in range(len(WAITS))))
        await delivered(service, http, len(WAITS))
        assert {request.attempt for request in target.requests} == {1}
        asked = [request for number, request in enumerate(target.requests) if request.id not in target.ids[:number]]
        later = [target.requests[target.requests.index(request) + 1 :][:1] for request in asked]
        assert all(after.at_s - request.at_s >= 1 for request, [after] in zip(asked[:-1], later[:-1], strict=True))


async def test_retry_after_on_any_other_failure_delays_that_event_alone(
    start: Start, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    """JRACLOUD-69262: 500 with Retry-After: 6 was ignored."""

    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        is_failure = request.id == "late" and request.attempt == 1
        writer.write(
            b"HTTP/1.1 500 Oh\r\nRetry-After: 1.5\r\nContent-Length: 0\r\n\r\n" if is_failure else OK,
        )

    async with RawTarget(answer) as target:
        await amqp.declare_flow(flow, (0.2, 0.5, 2))
        service = await start(target.url, TARGET__CONCURRENCY="1", TARGET__RETRY_DELAYS_S="0.2,0.5,2")
        await amqp.publish(lane_queue(flow, Lane.LIVE), message("late"), message("other"))
        await delivered(service, http, 2)
        first, second = target.of("late")
        assert (first.attempt, second.attempt) == (1, 2), "it counts"
        assert second.at_s - first.at_s >= 1.5
        [other] = target.of("other")
        assert other.at_s < second.at_s


# Everything at once


async def test_no_event_is_delivered_without_an_answer_of_its_own(
    start: Start, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    """A target whose answers are drawn. What it took and what we count as delivered are the same events, once each."""

    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        drawn = hostile_answer(random.Random(f"{seed}/{request.id}/{request.attempt}"))
        if drawn.means_success:
            taken.append(request.id)
        for segment in drawn.segments:
            writer.write(segment)
            await asyncio.sleep(0)
        match drawn.ending:
            case Ending.CLOSED:
                writer.close()
            case Ending.RESET:
                writer.transport.abort()
            case Ending.DEAF:
                await asyncio.sleep(60)

    events, seed = 300, random.randrange(10**6)
    taken: list[str] = []
    async with RawTarget(answer) as target:
        service = await start(
            target.url,
            TARGET__MAX_RETRY_AFTER_S="0.1",
            TARGET__MAX_ATTEMPTS="100",
            TARGET__RETRY_DELAYS_S="0.05,0.1",
            TARGET__CONCURRENCY="8",
        )
        await amqp.publish(lane_queue(flow, Lane.LIVE), *(message(str(number)) for number in range(events)))

        async def all_delivered() -> bool:
            return await service.metric(http, "eventflow_events_delivered_total") >= events

        await eventually(all_delivered, within_s=60, what=lambda: f"all delivered, seed {seed}\n{service.output}")
        assert sorted(taken, key=int) == [str(number) for number in range(events)], f"seed {seed}"


async def test_a_repeated_request_waits_at_the_gate(
    start: Start, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    """Reproduced on 0.1.0: half a second after a 429 with Retry-After: 6 a request was repeated on a new connection."""

    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        match request.id, len(target.of(request.id)):
            case ("stale", 1):
                await throttled.wait()
                await asyncio.sleep(0.5)
                writer.close()
            case ("throttled", 1):
                writer.write(b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n")
                throttled.set()
            case (("first" | "second"), _):
                await eventually(lambda: len(target.writers) == 2, what="a connection for each")
                writer.write(OK)
            case _:
                writer.write(OK)

    throttled = asyncio.Event()
    async with RawTarget(answer) as target:
        service = await start(target.url, TARGET__CONCURRENCY="2", TARGET__RATE_PER_S="50")
        await amqp.publish(lane_queue(flow, Lane.LIVE), message("first"), message("second"))
        await delivered(service, http, 2)
        await amqp.publish(lane_queue(flow, Lane.LIVE), message("stale"), message("throttled"))
        await delivered(service, http, 4)
        [asked_to_wait, _] = target.of("throttled")
        later = [request for request in target.requests if request.at_s > asked_to_wait.at_s]
        assert {request.id for request in later} == {"stale", "throttled"}
        assert min(request.at_s for request in later) - asked_to_wait.at_s >= 3
        assert {request.attempt for request in target.requests} == {1}
