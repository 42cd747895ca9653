"""Requests of senders with ways of their own: paths, methods, codings, transfer, and the answers that they need."""

import gzip
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import brotli  # type: ignore[import-untyped]  # there are no stubs
import pytest

from eventflow.topology import Lane, lane_queue
from tests.support import senders
from tests.support.amqp import Amqp
from tests.support.http import exchange
from tests.support.services import API_KEY, Service, collector

KEY = {"X-Api-Key": API_KEY}
LIMIT_BYTES = 10_000
SECRET = "current secret of tests"


@asynccontextmanager
async def running(broker_url: str, flow: str, http: aiohttp.ClientSession, **of_source: str) -> AsyncIterator[Service]:
    of_flow = f"FLOWS__{flow.upper()}__SOURCE__"
    service = collector(broker_url, flow=flow, **{f"{of_flow}{name}": value for name, value in of_source.items()})
    with service.process:
        await service.ready(http)
        yield service
    assert not service.tracebacks


@pytest.fixture
async def service(broker_url: str, flow: str, http: aiohttp.ClientSession) -> AsyncIterator[Service]:
    async with running(broker_url, flow, http, MAX_BODY_BYTES=str(LIMIT_BYTES)) as started:
        yield started


async def answer_to(
    http: aiohttp.ClientSession, url: str, *, method: str = "POST", **request: Any
) -> tuple[int, bytes]:
    request["headers"] = {**KEY, **request.get("headers", {})}
    async with http.request(method, url, **request) as answer:
        return answer.status, await answer.read()


async def bodies_in(amqp: Amqp, flow: str) -> list[bytes]:
    return [message.body for message in await amqp.drain(lane_queue(flow, Lane.LIVE))]


@pytest.mark.parametrize(
    ("of_source", "status", "content_type", "body"),
    [
        ({"ANSWER_STATUS": "200"}, 200, "application/json; charset=utf-8", b'{"id": "7"}'),
        ({"ANSWER_STATUS": "204"}, 204, None, b""),
        ({"ANSWER_BODY": "empty"}, 202, None, b""),
        ({"ANSWER_STATUS": "200", "ANSWER_TEXT": "[accepted]"}, 200, "text/plain; charset=utf-8", b"[accepted]"),
    ],
)
async def test_stored_events_are_answered_as_the_sender_needs_it(
    broker_url: str,
    flow: str,
    amqp: Amqp,
    http: aiohttp.ClientSession,
    of_source: Mapping[str, str],
    status: int,
    content_type: str | None,
    body: bytes,
) -> None:
    async with running(broker_url, flow, http, **of_source) as service:
        for _ in range(2):  # the second is written by the head that is kept
            async with http.post(service.url, data=b"{}", headers={**KEY, "ce-id": "7"}) as answer:
                assert answer.status == status
                assert answer.headers.get("Content-Type") == content_type
                assert answer.headers.get("Content-Length") == (None if status == 204 else str(len(body)))
                assert await answer.read() == body
        assert (await answer_to(http, service.url, headers={"X-Api-Key": "wrong"}))[0] == 401
    assert await bodies_in(amqp, flow) == [b"{}"] * 2


async def test_a_slash_behind_the_path_is_harmless(
    service: Service, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    assert (await answer_to(http, f"{service.url}/", data=b"1"))[0] == 202
    assert (await answer_to(http, f"{service.url}//", data=b"2"))[0] == 404
    assert (await answer_to(http, f"{service.url}/below", data=b"3"))[0] == 404
    assert await bodies_in(amqp, flow) == [b"1"]


async def test_a_flow_takes_paths_below_and_other_methods_by_its_settings(
    broker_url: str, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    settings = {"ALLOW_SUB_PATHS": "true", "ALLOW_TRAILING_SLASH": "false", "METHODS": "PUT,GET"}
    async with running(broker_url, flow, http, **settings) as service:
        assert (await answer_to(http, f"{service.url}/a/b.c", method="PUT", data=b"1"))[0] == 202
        assert (await answer_to(http, f"{service.url}?a=1", method="GET"))[0] == 202
        async with http.post(service.url, data=b"2", headers=KEY) as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "PUT,GET")
    assert await bodies_in(amqp, flow) == [b"1", b""]


CODINGS: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "deflate, gzip": lambda body: gzip.compress(zlib.compress(body)),
    "identity, br": brotli.compress,
}


@pytest.mark.parametrize("codings", CODINGS)
async def test_a_compressed_body_arrives_decoded(
    service: Service, flow: str, amqp: Amqp, http: aiohttp.ClientSession, codings: str
) -> None:
    body = b'{"hello": "world"}' * 100
    encode, headers = CODINGS[codings], {"Content-Encoding": codings, "Content-Type": "application/json"}

    async def status_of(data: object) -> int:
        return (await answer_to(http, service.url, data=data, headers=headers))[0]

    encoded = encode(body)
    assert await status_of(encoded) == 202
    assert await status_of(chunks(encoded)) == 202
    assert await status_of(encoded[:-1]) == 400
    assert await status_of(encoded + b"garbage") == 400
    assert await status_of(encode(bytes(LIMIT_BYTES))) == 202
    assert await status_of(encode(bytes(LIMIT_BYTES + 1))) == 413
    assert await bodies_in(amqp, flow) == [body, body, bytes(LIMIT_BYTES)]


async def chunks(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), 10):
        yield data[at : at + 10]


async def test_a_compressed_batch_is_read_decoded(
    service: Service, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/x-ndjson"}
    assert (await answer_to(http, service.url, data=gzip.compress(b"1\n2\n"), headers=headers))[0] == 202
    assert await bodies_in(amqp, flow) == [b"1", b"2"]


async def test_an_unknown_coding_is_refused_with_those_that_are_known(
    service: Service, http: aiohttp.ClientSession
) -> None:
    for coding in ("zstd", "gzip, compress", ", ".join(["gzip"] * 5)):
        async with http.post(service.url, data=b"{}", headers={**KEY, "Content-Encoding": coding}) as answer:
            assert (answer.status, answer.headers["Accept-Encoding"]) == (415, "gzip, deflate, br")


async def test_a_bomb_is_refused_at_the_limit_and_its_memory_is_given_back(
    broker_url: str, flow: str, http: aiohttp.ClientSession
) -> None:
    bombs = {
        "gzip": gzip.compress(bytes(50_000_000)),
        "br": brotli.compress(bytes(50_000_000)),
        "gzip, gzip": gzip.compress(gzip.compress(bytes(50_000_000))),
        "br, gzip": gzip.compress(brotli.compress(bytes(50_000_000))),
    }
    of_flow = f"FLOWS__{flow.upper()}__SOURCE__"
    settings = {"COLLECTOR__MAX_IN_FLIGHT_BYTES": "3000000", f"{of_flow}MAX_BODY_BYTES": "1000000"}
    service = collector(broker_url, flow=flow, **settings)
    with service.process:
        await service.ready(http)
        for _ in range(5):
            for codings, bomb in bombs.items():
                assert (await answer_to(http, service.url, data=bomb, headers={"Content-Encoding": codings}))[0] == 413
        assert (await answer_to(http, service.url, data=bytes(1_000_000)))[0] == 202
    assert not service.tracebacks


@pytest.mark.parametrize("signed_body", ["received", "decoded"])
async def test_a_signature_covers_the_bytes_that_the_setting_names(
    broker_url: str, flow: str, amqp: Amqp, http: aiohttp.ClientSession, signed_body: str
) -> None:
    body = b'{"a": 1}'
    encoded = gzip.compress(body)
    bytes_of = {"received": encoded, "decoded": body}
    async with running(broker_url, flow, http, VERIFY="github", SECRETS=SECRET, SIGNED_BODY=signed_body) as service:
        for signed, data in bytes_of.items():
            headers = {"Content-Encoding": "gzip", **senders.github(SECRET, data)}
            status, _ = await answer_to(http, service.url, data=encoded, headers=headers)
            assert status == (202 if signed == signed_body else 401)
        plain = senders.github(SECRET, body)
        assert (await answer_to(http, service.url, data=body, headers=plain))[0] == 202
    assert await bodies_in(amqp, flow) == [body, body]


def heads() -> Iterator[tuple[str, bytes, int]]:
    yield "a coding besides chunks", b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 501
    yield "two lines", b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400
    yield "no chunks", b"Transfer-Encoding: gzip\r\n\r\n", 400
    yield "a long header", b"X-A: " + b"a" * 9000 + b"\r\nContent-Length: 0\r\n\r\n", 431
    yield "a long name", b"X" * 9000 + b": a\r\nContent-Length: 0\r\n\r\n", 431
    yield "a long path in a header", b"Referer: /" + b"a" * 9000 + b"\r\nContent-Length: 0\r\n\r\n", 431
    yield "many headers", b"".join(b"X-%d: 1\r\n" % number for number in range(200)) + b"\r\n", 431
    yield "chunks", b"Transfer-Encoding: Chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 202


@pytest.mark.parametrize(
    ("lines", "status"), [(lines, status) for _, lines, status in heads()], ids=[one[0] for one in heads()]
)
async def test_the_head_of_a_request_is_refused_by_the_status_that_says_why(
    service: Service, flow: str, lines: bytes, status: int
) -> None:
    head = f"POST /events/{flow} HTTP/1.1\r\nHost: x\r\nX-Api-Key: {API_KEY}\r\n".encode()
    answer = await exchange(service.url, head + lines)
    assert answer.status == status, answer
    assert status == 202 or answer.content_type == "application/problem+json"


async def test_a_long_target_is_refused_as_such(service: Service) -> None:
    request = b"POST /events?a=" + b"b" * 9000 + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    assert (await exchange(service.url, request)).status == 414


async def test_a_byte_order_mark_is_no_reason_to_refuse_json(
    service: Service, flow: str, amqp: Amqp, http: aiohttp.ClientSession
) -> None:
    mark, event = b"\xef\xbb\xbf", b'{"specversion":"1.0","id":"1","source":"s","type":"t"}'
    for content_type, body in {
        "application/cloudevents+json": mark + event,
        "application/cloudevents-batch+json": mark + b"[" + event + b"]",
        "application/x-ndjson": mark + b"1\n",
    }.items():
        assert (await answer_to(http, service.url, data=body, headers={"Content-Type": content_type}))[0] == 202
    assert await bodies_in(amqp, flow) == [mark + event, event, b"1"]
