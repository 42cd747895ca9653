"""The same requests over both ways of the collector: its own synchronous one with aiohttp behind it, and aiohttp alone.

Each case is sent to both. Their answers are equal but for date and made ids, and so are the events in the queue.
"""

import asyncio
import gzip
import re
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from eventflow.topology import Lane, lane_queue
from sandbox.broker.node import PrivateNode
from tests.integration.test_fuzz import TIMEOUT_S, broken_requests, framed_requests
from tests.support import senders
from tests.support.amqp import Amqp
from tests.support.cases import CASES
from tests.support.rights import add_vhost, set_rights
from tests.support.services import API_KEY, Service, collector
from tests.support.sockets import until_read

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

LIMIT_BYTES = 5000
SECRET = "Y3VycmVudCBzZWNyZXQgb2YgdGVzdHM="
QUIET_S = 0.25
LENIENT = {
    "lenient": {
        "METHODS": "POST,PUT,GET",
        "ALLOW_SUB_PATHS": "true",
        "ANSWER_STATUS": "200",
        "ANSWER_TEXT": "[accepted]",
    },
    "bodiless": {"ANSWER_STATUS": "204", "ALLOW_TRAILING_SLASH": "false"},
    "empty": {"ANSWER_STATUS": "200", "ANSWER_BODY": "empty"},
    "json": {"ANSWER_STATUS": "200", "SIGNED_BODY": "decoded"},
}
"""Flows of other settings."""

VERIFIED = ("github", "shopify", "stripe", "standard-webhooks")

Parts = Sequence[bytes]
"""A request in the pieces in which it is sent, with a pause between them."""

Stored = tuple[object, ...]
"""An event in a queue, without what differs between two runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """Two collectors of the same flows, which differ in the way that their requests take.

    Each has a virtual host of its own, so that a case can be sent to both at once. Only it uses its flow `default`.
    """

    own: Service
    own_broker: str
    aiohttp: Service
    aiohttp_broker: str
    prefix: str

    @property
    def flows(self) -> list[str]:
        return [
            "default",
            self.prefix,
            *(self.prefix + name for name in LENIENT),
            *(self.prefix + sender.replace("-", "") for sender in VERIFIED),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One of both collectors, and a client of its broker."""

    service: Service
    amqp: Amqp

    async def outcome(self, parts: Parts, *, flows: Sequence[str], shuts: bool) -> tuple[bytes, list[Stored]]:
        """Return the answers to a request, and the events that it has put into the queues."""
        answers = await answers_to(self.service, parts, shuts=shuts)
        return answers, await events_in(self.amqp, flows)


@pytest.fixture(scope="module")
def ways(node: PrivateNode) -> Iterator[Ways]:
    prefix = f"t{secrets.token_hex(4)}"

    async def new_broker(vhost: str) -> str:
        await add_vhost(node, vhost)
        await set_rights(node, node.login, (".*", ".*", ".*"), vhost=vhost)
        return f"{node.url.rstrip('/')}/{vhost}"

    brokers = [asyncio.run(new_broker(f"{prefix}-{way}")) for way in ("own", "aiohttp")]
    variables = {
        "COLLECTOR__BODY_TIMEOUT_S": "1",
        "SOURCE__ALLOW_UNAUTHENTICATED": "true",
        "SOURCE__MAX_BODY_BYTES": str(LIMIT_BYTES),
        "SOURCE__MAX_BATCH_EVENTS": "5",
    }
    for sender in VERIFIED:
        of_flow = f"FLOWS__{prefix}{sender.replace('-', '')}__SOURCE__".upper()
        variables |= {f"{of_flow}VERIFY": sender, f"{of_flow}SECRETS": SECRET}
    for name, of_source in LENIENT.items():
        of_flow = f"FLOWS__{prefix}{name}__SOURCE__".upper()
        variables |= {f"{of_flow}{key}": value for key, value in of_source.items()}
        variables[f"{of_flow}ALLOW_UNAUTHENTICATED"] = "true"
    own = collector(brokers[0], flow=prefix, **variables)
    other = collector(brokers[1], flow=prefix, module="tests.support.aiohttp_alone", **variables)

    async def ready() -> None:
        async with aiohttp.ClientSession() as client:
            await own.ready(client)
            await other.ready(client)

    with ExitStack() as stack:
        for service in (own, other):
            stack.enter_context(service.process)
        asyncio.run(ready())
        yield Ways(own=own, own_broker=brokers[0], aiohttp=other, aiohttp_broker=brokers[1], prefix=prefix)
    assert own.tracebacks == other.tracebacks == []


@pytest.fixture
async def both(ways: Ways) -> AsyncIterator[tuple[Way, Way]]:
    async with Amqp(ways.own_broker) as own, Amqp(ways.aiohttp_broker) as other:
        yield Way(service=ways.own, amqp=own), Way(service=ways.aiohttp, amqp=other)


async def answers_to(service: Service, parts: Parts, *, shuts: bool) -> bytes:
    """Send a request and return all answers, without what differs between two runs.

    Args:
        service: The collector.
        parts: Of the request.
        shuts: Shut the writing side at once, instead of when no more answers come.
    """
    place = urlsplit(service.url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    received = bytearray()

    async def read(*, quiet_s: float) -> None:
        with suppress(TimeoutError, ConnectionError):
            while chunk := await asyncio.wait_for(reader.read(65536), quiet_s):
                received.extend(chunk)

    with suppress(ConnectionError):  # it may have answered and closed before all was sent
        for part in parts:
            writer.write(part)
            await writer.drain()
            if len(part) == 1:
                await asyncio.sleep(0.001)
            elif len(parts) > 1:  # two requests that are read together can have another answer
                await until_read(writer)
        if not shuts:
            await read(quiet_s=QUIET_S)
        with suppress(OSError):  # it may be closed already
            writer.write_eof()
    await read(quiet_s=30)
    writer.close()
    return comparable(bytes(received))


def comparable(answers: bytes) -> bytes:
    answers = re.sub(rb"\r\nDate: [^\r]*", b"", answers)
    answers = re.sub(rb"\r\nContent-Length: \d+", b"", answers) if b'{"id"' in answers else answers
    return re.sub(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", b"made-id", answers)


async def events_in(amqp: Amqp, flows: Sequence[str]) -> list[Stored]:
    """Take the events out of all queues, without what differs between two runs."""
    events: list[Stored] = []
    for flow in flows:
        for message in await amqp.drain(lane_queue(flow, Lane.LIVE)):
            kept = {
                name: re.sub(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "made-id", str(value))
                for name, value in message.headers.items()
                if name not in {"cloudEvents:time", "eventflow-accepted-at"}
            }
            events.append((flow, message.body, message.content_type, tuple(sorted(kept.items()))))
    return events


def request(path: str = "/events", *fields: str, body: bytes = b"{}", line: str = "POST {} HTTP/1.1") -> bytes:
    lines = [line.format(path), "Host: x", f"X-Api-Key: {API_KEY}", *fields, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def raw(*lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([b"POST /events HTTP/1.1", *lines, b"", b""]) + body


def drip(data: bytes) -> Parts:
    return [data[at : at + 1] for at in range(len(data))]


HOST = b"Host: x"
CLOUDEVENT = b'{"specversion":"1.0","id":"%d","source":"s","type":"t"}'

CASES_OF_HTTP: Mapping[str, Parts] = {
    name: case if isinstance(case, list) else [case]
    for name, case in {
        "a plain request": request(),
        "an empty body": request(body=b""),
        "an id": request("/events", "ce-id: 7"),
        "a body of the limit": request(body=b"x" * LIMIT_BYTES),
        "a body above the limit": request(body=b"x" * (LIMIT_BYTES + 1)),
        "too large by its header": raw(HOST, b"Content-Length: 999999999"),
        "a length of many digits": raw(HOST, b"Content-Length: 99999999999999999999"),
        "a length with zeros in front": raw(HOST, b"Content-Length: 0002", body=b"{}"),
        "a length with a sign": raw(HOST, b"Content-Length: +2", body=b"{}"),
        "a negative length": raw(HOST, b"Content-Length: -1", body=b"{}"),
        "a list of lengths": raw(HOST, b"Content-Length: 2, 2", body=b"{}"),
        "an empty length": raw(HOST, b"Content-Length:", body=b"{}"),
        "no length": raw(HOST),
        "no length, and a body": raw(HOST, body=b"{}"),
        "two lengths": raw(HOST, b"Content-Length: 1", b"Content-Length: 2", body=b"{}"),
        "the same length twice": raw(HOST, b"Content-Length: 2", b"content-length: 2", body=b"{}"),
        "a length under another spelling": raw(HOST, b"CONTENT-LENGTH: 2", body=b"{}"),
        "a length with a space before the colon": raw(HOST, b"Content-Length : 2", body=b"{}"),
        "a length behind a tab": raw(HOST, b"Content-Length:\t2", body=b"{}"),
        "a length and spaces": raw(HOST, b"Content-Length: 2  ", body=b"{}"),
        "chunks": raw(HOST, b"Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n\r\n"),
        "chunks and a length": raw(HOST, b"Content-Length: 2", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        "chunks behind a length": raw(HOST, b"Transfer-Encoding: chunked", b"Content-Length: 2", body=b"0\r\n\r\n"),
        "another coding than chunks": raw(HOST, b"Transfer-Encoding: xchunked", b"Content-Length: 2", body=b"{}"),
        "an identity coding": raw(HOST, b"Transfer-Encoding: identity", b"Content-Length: 2", body=b"{}"),
        "chunks behind a vertical tab": raw(HOST, b"Transfer-Encoding: \x0bchunked", b"Content-Length: 2", body=b"{}"),
        "an underscore in the coding": raw(HOST, b"Transfer_Encoding: chunked", b"Content-Length: 2", body=b"{}"),
        "bad chunks": raw(HOST, b"Transfer-Encoding: chunked", body=b"zz\r\nabc\r\n"),
        "a smuggled request": raw(HOST, b"Content-Length: 0", b"Content-Length: 60", body=request()),
        "a smuggled request in a folded line": raw(HOST, b"X-A: 1", b" Content-Length: 60", body=request()),
        "an empty header in front of the length": raw(HOST, b"X-A:", b"Content-Length: 2", body=b"{}"),
        "an empty header with a space": raw(HOST, b"X-A: ", b"Content-Length: 2", body=b"{}"),
        "a bare LF": request().replace(b"Host: x\r\n", b"Host: x\n"),
        "a bare LF in a value": request("/events", "X-A: 1\nContent-Length: 0"),
        "a bare CR": request("/events", "X-A: 1\rContent-Length: 0"),
        "only LF": request().replace(b"\r\n", b"\n"),
        "a NUL in a value": request("/events", "X-A: 1\x002"),
        "a NUL in a name": request("/events", "X\x00A: 1"),
        "control characters": request("/events", "X-A: \x01\x02"),
        "obs-text": request("/events", "X-A: \xff\xfe"),
        "obs-text in an id": request("/events", "Idempotency-Key: \xff\xfe"),
        "UTF-8 in an id": request("/events", "Idempotency-Key: \xc3\xa9"),
        "a tab in a value": request("/events", "X-A: a\tb"),
        "spaces around a value": request("/events", "ce-id:   7  "),
        "no space before a value": request("/events", "ce-id:7"),
        "a folded header": request("/events", "X-A: 1\r\n 2"),
        "a space before the colon": request("/events", "X-A : 1"),
        "no colon": request("/events", "X-A"),
        "no name": request("/events", ": 1"),
        "a name that is no token": request("/events", "X A: 1"),
        "a repeated header": request("/events", "ce-id: 1", "ce-id: 2"),
        "a repeated key": request("/events", f"X-Api-Key: {API_KEY}"),
        "a repeated host": request("/events", "Host: y"),
        "a repeated content type": request("/events", "Content-Type: a/b", "Content-Type: c/d"),
        "no host": raw(b"Content-Length: 2", body=b"{}"),
        "an empty host": raw(b"Host:", b"Content-Length: 2", body=b"{}"),
        "an old websocket": request("/events", "Sec-WebSocket-Key1: 1"),
        "many headers": request("/events", *(f"X-{number}: 1" for number in range(90))),
        "the most headers": request("/events", *(f"X-{number}: 1" for number in range(125))),
        "one header too many": request("/events", *(f"X-{number}: 1" for number in range(126))),
        "thousands of headers": request("/events", *(f"X-{number}: 1" for number in range(3000))),
        "a long header": request("/events", "X-A: " + "a" * 7000),
        "the longest header": request("/events", "X-A: " + "a" * 8185),
        "a header that is too long": request("/events", "X-A: " + "a" * 8200),
        "a far too long header": request("/events", "X-A: " + "a" * 20_000),
        "a long target": request("/events?x=" + "a" * 7000),
        "a target that is too long": request("/events?x=" + "a" * 9000),
        "an unknown flow": request("/events/nobody"),
        "another path": request("/nothing"),
        "a longer path": request("/events/a/b"),
        "a path with a slash behind it": request("/events/"),
        "a trailing slash": request("/events/default/"),
        "a path below a flow": request("/events/default/a"),
        "dots below a flow": request("/events/default/../b"),
        "a path below a flow, as a token": request("/events/default/a~B_1-?token=a%2Bb"),
        "a double slash": request("//events"),
        "a percent-encoded path": request("/%65vents"),
        "a percent-encoded slash": request("/events/a%2Fb"),
        "dots in a path": request("/events/../events"),
        "an encoded dot": request("/events/%2e%2e"),
        "a fragment": request("/events#x"),
        "an absolute target": request("http://x/events"),
        "an asterisk": request("*", line="OPTIONS {} HTTP/1.1"),
        "a query": request("/events?x=1"),
        "an empty query": request("/events?"),
        "a target with a space": request("/events x"),
        "a target with obs-text": request("/events/\xff"),
        "an unknown batch": request("/events?batch=2"),
        "an encoded batch": request("/events?%62atch=%31", "Content-Type: application/json", body=b"[1,2]"),
        "two parameters batch": request("/events?batch=1&batch=2", "Content-Type: application/json", body=b"[1,2]"),
        "a query of other characters": request("/events?a=[]{}|^`"),
        "a query with obs-text": request("/events?a=\xff"),
        "a query that is not percent-encoded": request("/events?a=%zz&%"),
        "a question mark in a query": request("/events?a?batch=2"),
        "GET": request(line="GET {} HTTP/1.1"),
        "PUT": request(line="PUT {} HTTP/1.1"),
        "HEAD": request(line="HEAD {} HTTP/1.1"),
        "an unknown method": request(line="NONSENSE {} HTTP/1.1"),
        "a method in lower case": request(line="post {} HTTP/1.1"),
        "CONNECT": request("x:1", line="CONNECT {} HTTP/1.1"),
        "HTTP/1.0": request(line="POST {} HTTP/1.0"),
        "HTTP/1.0 that stays": request("/events", "Connection: keep-alive", line="POST {} HTTP/1.0"),
        "HTTP/0.9": request(line="POST {} HTTP/0.9"),
        "HTTP/1.2": request(line="POST {} HTTP/1.2"),
        "HTTP/2.0": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "a lower case version": request(line="POST {} http/1.1"),
        "two spaces in the first line": request(line="POST  {} HTTP/1.1"),
        "an empty line in front": b"\r\n" + request(),
        "an empty line behind": request() + b"\r\n",
        "TLS": b"\x16\x03\x01\x00\xa5",
        "nonsense": b"nonsense\r\n\r\n",
        "Connection: close": request("/events", "Connection: close"),
        "Connection: keep-alive": request("/events", "Connection: keep-alive"),
        "Connection: Keep-Alive": request("/events", "Connection: Keep-Alive"),
        "Connection: TE": request("/events", "Connection: TE", "TE: trailers"),
        "Connection: close, then another": request("/events", "Connection: close") + request(),
        "an upgrade": request("/events", "Connection: Upgrade", "Upgrade: websocket"),
        "an upgrade to HTTP/2": request("/events", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"),
        "an upgrade without a connection": request("/events", "Upgrade: websocket"),
        "Expect: 100-continue": request("/events", "Expect: 100-continue"),
        "Expect: nonsense": request("/events", "Expect: nonsense"),
        "a broken coding": request("/events", "Content-Encoding: gzip"),
        "an unknown coding": request("/events", "Content-Encoding: zstd"),
        "gzip": request("/events", "Content-Encoding: gzip", body=gzip.compress(b"{}" * 100)),
        "a bomb": request("/events", "Content-Encoding: gzip", body=gzip.compress(bytes(LIMIT_BYTES + 1))),
        "gzip in chunks": raw(HOST, b"Transfer-Encoding: gzip, chunked", body=b"2\r\n{}\r\n0\r\n\r\n"),
        "gzip in chunks, in two lines": raw(
            HOST, b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n\r\n"
        ),
        "chunks in chunks": raw(HOST, b"Transfer-Encoding: chunked, chunked", body=b"2\r\n{}\r\n0\r\n\r\n"),
        "a byte order mark": request("/events", "Content-Type: application/x-ndjson", body=b"\xef\xbb\xbf1\n2\n"),
        "an identity body": request("/events", "Content-Encoding: identity"),
        "two codings": request("/events", "Content-Encoding: identity", "Content-Encoding: gzip"),
        "a long id": request("/events", "Idempotency-Key: " + "k" * 300),
        "a CloudEvent that is not complete": request("/events", "ce-specversion: 1.0", "ce-id: 1"),
        "a CloudEvent": request("/events", "ce-specversion: 1.0", "ce-id: 1", "ce-source: s", "ce-type: t"),
        "JSON": request("/events", "Content-Type: application/json"),
        "text": request("/events", "Content-Type: text/plain; charset=utf-8", body=b"\x00\xff"),
        "a structured CloudEvent": request(
            "/events", "Content-Type: application/cloudevents+json", body=CLOUDEVENT % 1
        ),
        "a malformed CloudEvent": request("/events", "Content-Type: application/cloudevents+json", body=b"{"),
        "another CloudEvent format": request("/events", "Content-Type: application/cloudevents+avro"),
        "a batch of CloudEvents": request(
            "/events",
            "Content-Type: application/cloudevents-batch+json",
            body=b"[%b,%b]" % (CLOUDEVENT % 1, CLOUDEVENT % 2),
        ),
        "an empty batch": request("/events", "Content-Type: application/cloudevents-batch+json", body=b"[]"),
        "lines": request("/events", "Content-Type: application/x-ndjson", "ce-id: 7", body=b"1\n2\n3\n"),
        "a bad line": request("/events", "Content-Type: application/x-ndjson", body=b"1\n{\n"),
        "too many lines": request("/events", "Content-Type: application/x-ndjson", body=b"1\n" * 6),
        "an array": request("/events?batch=1", "Content-Type: application/json", body=b"[1,2]"),
        "an array in text": request("/events?batch=1", "Content-Type: text/plain", body=b"[1,2]"),
        "a trace": request("/events", f"traceparent: 00-{'1' * 32}-{'2' * 16}-01"),
        "a bad trace": request("/events", "traceparent: 00"),
        "three at once": request("/events", "ce-id: 1")
        + request("/events", "ce-id: 2")
        + request("/events", "ce-id: 3"),
        "a hundred at once": b"".join(request("/events", f"ce-id: {number}") for number in range(100)),
        "a refused one in the middle": request() + request("/events/nobody") + request(),
        "an invalid one in the middle": request() + request("/events", f"ce-id: {'x' * 300}") + request(),
        "one with chunks in the middle": request("/events", "ce-id: 1")
        + raw(HOST, b"ce-id: 2", b"Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n\r\n")
        + request("/events", "ce-id: 3"),
        "a malformed one behind two": [request("/events", "ce-id: 1"), b"nonsense\r\n\r\n"],
        "another way, then a plain one": b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" + request(),
        "part of a head": request()[:40],
        "part of a body": request(body=b"x" * 50)[:-10],
        "part of a body that is too large": request(body=b"x" * (LIMIT_BYTES + 1))[:-10],
        "part of a body for an unknown flow": request("/events/nobody", body=b"x" * 50)[:-10],
        "part of a body of a bad mode": request("/events?batch=1", body=b"x" * 50)[:-10],
        "part of a second head": request() + request()[:40],
        "part of a second body": request() + request(body=b"x" * 50)[:-10],
        "byte by byte": drip(request("/events", "ce-id: 1") + request("/events", "ce-id: 2")),
        "byte by byte, with chunks": drip(raw(HOST, b"Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n\r\n")),
        "the head before the body": [request(body=b"x" * 50)[:-50], b"x" * 50],
        "the end of a head alone": [request()[:-4], request()[-4:]],
        "two requests across pieces": [request() + request()[:60], request()[60:] + request()[:9], request()[9:]],
    }.items()
}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("shuts", [False, True], ids=["open", "shut"])
async def test_both_ways_answer_alike_and_store_the_same_events(both: tuple[Way, Way], shuts: bool) -> None:
    different = {}
    for name, parts in CASES_OF_HTTP.items():
        outcomes = await asyncio.gather(*(way.outcome(parts, flows=["default"], shuts=shuts) for way in both))
        if outcomes[0] != outcomes[1]:
            different[name] = outcomes
    assert different == {}, "\n".join(
        f"{name}:\n  own {own}\n  aiohttp {other}" for name, (own, other) in different.items()
    )


def lenient_requests(prefix: str) -> Iterator[tuple[str, bytes]]:
    for flow in LENIENT:
        path = f"/events/{prefix}{flow}"
        for name, target in {
            "": path,
            "a slash": f"{path}/",
            "a path below": f"{path}/a/b%20c",
            "a plain path below": f"{path}/a/b_c?d=e",
            "dots": f"{path}/a/../b",
        }.items():
            yield f"{flow} {name}", request(target)
        for method in ("PUT", "GET", "HEAD", "PATCH"):
            yield f"{flow} {method}", request(path, line=f"{method} {{}} HTTP/1.1")
        yield f"{flow} GET without a length", f"GET {path}?a=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        yield f"{flow} lines", request(path, "Content-Type: application/x-ndjson", "ce-id: 7", body=b"1\n2\n")
        yield f"{flow} refused", request(path, "Idempotency-Key: " + "k" * 300)
        yield f"{flow} gzip", request(path, "Content-Encoding: gzip", body=gzip.compress(b"{}"))
        yield f"{flow} several", request(path, "ce-id: 1") * 2 + request(path, "Connection: close")
        yield f"{flow} HTTP/1.0", request(path, line="POST {} HTTP/1.0")


async def test_both_ways_follow_the_settings_of_a_flow_alike(ways: Ways, both: tuple[Way, Way]) -> None:
    statuses = []
    for name, data in lenient_requests(ways.prefix):
        outcomes = await asyncio.gather(*(way.outcome([data], flows=ways.flows, shuts=True) for way in both))
        assert outcomes[0] == outcomes[1], name
        statuses += re.findall(rb"HTTP/1.[01] (\d+)", outcomes[0][0])
    assert set(statuses) == {b"200", b"204", b"400", b"404", b"405"}


def signed_requests(prefix: str) -> Iterator[tuple[str, bytes]]:
    body = b'{"id":"evt_1","type":"a.b"}'
    now, old = str(int(time.time())), str(int(time.time()) - 9999)
    for name, headers in {
        "github": senders.github(SECRET, body) | {"X-GitHub-Delivery": "1", "X-GitHub-Event": "push"},
        "github wrong": senders.github("another", body),
        "shopify": senders.shopify(SECRET, body) | {"X-Shopify-Webhook-Id": "1", "X-Shopify-Topic": "a/b"},
        "shopify wrong": senders.shopify("another", body),
        "stripe": senders.stripe(SECRET, body, now),
        "stripe stale": senders.stripe(SECRET, body, old),
        "standard-webhooks": senders.standard(SECRET, body, now),
        "standard-webhooks stale": senders.standard(SECRET, body, old),
        "standard-webhooks twice": senders.standard(SECRET, body, now) | {"Webhook-Id": "another"},
        **{f"{sender} missing": {} for sender in VERIFIED},
    }.items():
        path = f"/events/{prefix}{name.split()[0].replace('-', '')}"
        yield name, request(path, *(f"{key}: {value}" for key, value in headers.items()), body=body)
    yield "a key", request(f"/events/{prefix}")
    yield "a wrong key", request(f"/events/{prefix}").replace(API_KEY.encode(), b"wrong")
    yield "no key", request(f"/events/{prefix}").replace(b"X-Api-Key", b"X-Other")
    yield "a key with obs-text", request(f"/events/{prefix}").replace(API_KEY.encode(), b"test-k\xe9y")
    yield "a flow in capitals", request(f"/events/{prefix.upper()}")


async def test_both_ways_judge_senders_alike(ways: Ways, both: tuple[Way, Way]) -> None:
    statuses = []
    for name, data in signed_requests(ways.prefix):
        outcomes = await asyncio.gather(*(way.outcome([data], flows=ways.flows, shuts=False) for way in both))
        assert outcomes[0] == outcomes[1], name
        statuses += re.findall(rb"HTTP/1.1 (\d+)", outcomes[0][0])
    assert {status: statuses.count(status) for status in statuses} == {b"202": 6, b"401": 11, b"404": 1}


@pytest.mark.timeout(TIMEOUT_S * 2)
@settings(
    max_examples=CASES,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
@given(data=framed_requests() | broken_requests())
def test_both_ways_answer_any_bytes_alike(ways: Ways, data: bytes) -> None:
    """If a malformed request arrives together with whole ones before it, aiohttp drops those. They are served here."""

    async def answers() -> list[bytes]:
        return await asyncio.gather(*(answers_to(service, [data], shuts=True) for service in (ways.own, ways.aiohttp)))

    own, other = asyncio.run(answers())
    assert own == other or (re.search(rb"HTTP/1.1 (400|414|431) ", other) and own.endswith(other))
