"""Whatever bytes come: a documented answer or none, no traceback, and the next request is served."""

import asyncio
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventflow_collector.openapi import document
from tests.support import senders
from tests.support.cases import CASES
from tests.support.services import Service, collector, scrubbed_environment

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")  # a failing case is worth its size

TIMEOUT_S = 60 + CASES * 0.05
SECRET = "Y3VycmVudCBzZWNyZXQgb2YgdGVzdHM="

fuzzed = settings(
    max_examples=CASES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def service(broker_url: str) -> Iterator[Service]:
    """A collector with an open flow, `default`, and one that checks signatures, `signed`."""
    running = collector(
        broker_url,
        flow="signed",
        COLLECTOR__BODY_TIMEOUT_S="1",
        SOURCE__ALLOW_UNAUTHENTICATED="true",
        SOURCE__MAX_BODY_BYTES="5000",
        FLOWS__SIGNED__SOURCE__VERIFY="standard-webhooks",
        FLOWS__SIGNED__SOURCE__SECRETS=SECRET,
    )

    async def ready() -> None:
        async with aiohttp.ClientSession() as client:
            await running.ready(client)

    with running.process:
        asyncio.run(ready())
        yield running
    assert running.tracebacks == []


def exchange(service: Service, request: bytes, *, is_whole: bool = False) -> list[int]:
    """Send bytes as `received` does; return the statuses of all answers."""
    answers = received(service, request, is_whole=is_whole)
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answers)]


def received(service: Service, request: bytes, *, is_whole: bool = False) -> bytes:
    """Send bytes and then say that no more will come, which ends what is not whole; return all answers.

    Args:
        is_whole: Wait for an answer first.
    """
    place = urlsplit(service.url)
    answers = b""
    with (
        suppress(ConnectionError),  # it may have answered and closed before all was sent
        socket.create_connection((place.hostname, place.port), timeout=30) as connection,
    ):
        connection.sendall(request)
        while is_whole and not re.search(rb"HTTP/1\.[01] [2-5]", answers):
            answers += connection.recv(65536) or pytest.fail("no answer to a whole request")
        connection.shutdown(socket.SHUT_WR)
        while chunk := connection.recv(65536):
            answers += chunk
    return answers


def assert_served(service: Service) -> None:
    request = b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1"
    assert exchange(service, request, is_whole=True) == [202]


DOCUMENTED = {
    int(status)
    for item in document()["paths"].values()
    for operation in item.values()
    if isinstance(operation, dict)
    for status in operation["responses"]
} | {100}

names = st.sampled_from(
    [
        b"Content-Type",
        b"Content-Encoding",
        b"Idempotency-Key",
        b"X-Api-Key",
        b"ce-id",
        b"ce-specversion",
        b"ce-source",
        b"ce-type",
        b"ce-time",
        b"webhook-id",
        b"webhook-timestamp",
        b"webhook-signature",
        b"X-GitHub-Event",
        b"X-Shopify-Topic",
        b"traceparent",
        b"Connection",
        b"Expect",
        b"Host",
    ]
) | st.from_regex(rb"[A-Za-z][A-Za-z-]{0,10}", fullmatch=True)
values = (
    st.sampled_from(
        [
            b"application/json",
            b"application/cloudevents+json",
            b"application/cloudevents-batch+json; charset=utf-8",
            b"application/x-ndjson",
            b"text/plain",
            b"1.0",
            b"%C0%A0",
            b"identity",
            b"100-continue",
            b"gzip",
            b"9999-12-31T23:59:59-14:00",
            b"x" * 9000,
        ]
    )
    | st.binary(max_size=30).map(lambda value: value.translate(None, b"\r\n\0"))
    | st.text(max_size=10).map(lambda value: value.translate({10: "", 13: "", 0: ""}).encode(errors="surrogatepass"))
)
bodies = st.binary(max_size=200) | st.sampled_from(
    [
        b"[]",
        b"[" * 4000,
        b'{"specversion":"1.0","id":"1","source":"s","type":"t"}',
        b'[{"specversion":"1.0","id":"\\ud800","source":"s","type":"t"}]',
        b"NaN\n1",
        b"x" * 6000,
    ]
)
paths = st.sampled_from(
    [b"/events", b"/events?batch=1", b"/events?batch=%ff&batch", b"/events/signed", b"/openapi.json", b"/events/%2e%2e"]
) | st.binary(max_size=20).map(lambda value: b"/" + value.translate(None, b" \r\n\0"))


NOISE = st.sampled_from([b"", b"\r\n", b"\0", b"\xff", b": ", b"Content-Length: 5\r\n"])


@st.composite
def framed_requests(draw: st.DrawFn) -> bytes:
    """Requests that HTTP has nothing against, but for what is in their headers."""
    body = draw(bodies)
    method = draw(st.sampled_from([b"POST", b"POST", b"POST", b"GET", b"PUT", b"HEAD", b"OPTIONS"]))
    headers = draw(st.lists(st.tuples(names, values), max_size=6))
    lines = [b"%b %b HTTP/1.1" % (method, draw(paths)), b"Host: x", *(b"%b: %b" % header for header in headers)]
    if draw(st.booleans()):
        return b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body])
    chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    return b"\r\n".join([*lines, b"Transfer-Encoding: chunked", b"", chunk + b"0\r\n\r\n"])


@st.composite
def broken_requests(draw: st.DrawFn) -> bytes:
    """The same, cut short, with bytes changed, taken out or put in, or several in one."""
    request = draw(framed_requests())
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(request)))
        until = at + draw(st.sampled_from([0, 0, 1, 5, len(request)]))
        noise = draw(
            st.sampled_from([b"", b"\r\n", b"\0", b"\xff", b": ", b"Content-Length: 5\r\n"]) | st.binary(max_size=8)
        )
        request = request[:at] + noise + request[until:]
    return request + draw(st.just(b"") | framed_requests())


@pytest.mark.timeout(TIMEOUT_S)
@fuzzed
@given(framed_requests())
def test_any_headers_and_body_get_a_documented_answer(service: Service, request_bytes: bytes) -> None:
    statuses = exchange(service, request_bytes, is_whole=True)
    assert statuses
    assert set(statuses) <= DOCUMENTED
    assert_served(service)


@pytest.mark.timeout(TIMEOUT_S)
@fuzzed
@given(broken_requests())
def test_broken_http_gets_a_documented_answer_or_none(service: Service, request_bytes: bytes) -> None:
    assert set(exchange(service, request_bytes)) <= DOCUMENTED
    assert_served(service)


@pytest.mark.timeout(TIMEOUT_S)
@fuzzed
@given(body=st.text(max_size=100), content_type=st.sampled_from(["application/json", "application/cloudevents+json"]))
def test_signed_rubbish_gets_a_documented_answer(service: Service, body: str, content_type: str) -> None:
    content = body.encode(errors="replace")
    headers = senders.standard(SECRET, content) | {"Host": "x", "Content-Length": str(len(content))}
    lines = [f"{name}: {value}" for name, value in {**headers, "Content-Type": content_type}.items()]
    head = "\r\n".join(["POST /events/signed HTTP/1.1", *lines, "", ""])
    statuses = exchange(service, head.encode() + content, is_whole=True)
    assert statuses in ([202], [400])


POST = b"POST /events HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "statuses"),
    [
        (POST + b"Content-Length: 50\r\n\r\ntorn", set()),
        (POST + b"Content-Le", set()),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", {400}),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", {400}),
        (POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n12", {400}),
        (POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
        (POST + b"Content-Length: 99999999999999999999\r\n\r\n", {400}),
        (POST + b"Content-Length: 5001\r\n\r\n", {413}),
        (POST + b"Content-Length: -1\r\n\r\n", {400}),
        (POST + b"Idempotency-Key: " + b"k" * 300 + b"\r\nContent-Length: 0\r\n\r\n", {400}),
        (POST + b"X: " + b"x" * 9000 + b"\r\nContent-Length: 0\r\n\r\n", {431}),
        (POST + b"ce-specversion: 1.0\r\nce-id: 1\r\nce-id: 2\r\nContent-Length: 0\r\n\r\n", {400}),
        (POST + b"Expect: nonsense\r\nContent-Length: 0\r\n\r\n", {417}),
        (b"GET /nothing HTTP/1.1\r\nHost: x\r\nExpect: \xff\r\n\r\n", {417}),
        (POST + b"Expect: 100-Continue\r\nContent-Length: 1\r\n\r\n1", {100, 202}),
        (POST.replace(b"1.1", b"1.0") + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\n1", {202}),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400}),
        (b"\x16\x03\x01\x00\xa5", {400}),
        (b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 3, {200}),
    ],
)
def test_known_ways_to_break_http(service: Service, request_bytes: bytes, statuses: set[int]) -> None:
    assert set(exchange(service, request_bytes, is_whole=bool(statuses))) == statuses
    assert_served(service)


@pytest.mark.timeout(TIMEOUT_S)
def test_schemathesis_finds_nothing_against_the_description(service: Service, tmp_path: Path) -> None:
    run = schemathesis_run(service, "default", tmp_path, examples=max(20, CASES // 20))
    assert run.returncode == 0, run.stdout + run.stderr


def schemathesis_run(
    service: Service, flow: str, directory: Path, *options: str, examples: int
) -> subprocess.CompletedProcess[str]:
    """Let schemathesis compare a collector with its description, with requests for one flow."""
    config = directory / "schemathesis.toml"
    config.write_text(f'[parameters]\nflow = "{flow}"\n')
    url = service.url.rpartition("/events")[0]
    root = Path(__file__).parents[2]
    options = ("--phases", "coverage,fuzzing", "--max-examples", str(examples), "--no-color", *options)
    return subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "--config-file", config, "run", f"{url}/openapi.json", *options],
        cwd=directory,
        env=scrubbed_environment()
        | {"SCHEMATHESIS_HOOKS": "tests.support.schemathesis_hooks", "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
