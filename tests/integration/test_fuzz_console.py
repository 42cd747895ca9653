"""Whatever bytes come to the console: a documented answer or none, no traceback, and nothing that a browser runs."""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventflow.history.records import Batch
from eventflow.history.sqlite.store import SqliteStore
from eventflow_console.api.openapi import document
from tests.support.amqp import Amqp
from tests.support.cases import CASES
from tests.support.cli import bury, dead_letter
from tests.support.history import NOON, attempt
from tests.support.services import Service, console, scrubbed_environment

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")  # a failing case is worth its size

TIMEOUT_S = 120 + CASES * 0.1
FLOW = "hostile"
MARK = "<img src=x onerror=alert(1)>"
HOSTILE = [
    MARK,
    f"\"'>{MARK}",
    f"</script><script>{MARK}",
    "{{7*7}}",
    "\x00\x1b[31m\x7f\u202e",
    "javascript:alert(1)",
    "../../etc/passwd",
    "a\r\nSet-Cookie: x=1",
    "'; DROP TABLE attempts; --",
    "%00%ff",
    "\ud800".encode("utf-8", "replace").decode(),
    "x" * 5000,
]

fuzzed = settings(
    max_examples=CASES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def service(broker_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A console whose store and dead queue are full of hostile texts."""
    path = tmp_path_factory.mktemp("store") / "history.db"
    running = console(broker_url, flow=FLOW, HISTORY__URL=f"sqlite:///{path}")

    async def prepare() -> None:
        store = SqliteStore(path)
        attempts = [
            attempt(
                flow=FLOW,
                event_id=text[:200],
                type=text[:200],
                source=text,
                subject=text,
                outcome="retry",
                reason="client_error",
                status=422,
                text=text,
                answer=text.encode(),
                answer_type=text[:200],
                started_at=NOON,
                writer=text[:100],
            )
            for text in HOSTILE
        ]
        await store.append(Batch(writer="hostile", number=1, attempts=attempts))
        await store.close()
        async with Amqp(broker_url) as amqp:
            await amqp.declare_flow(FLOW)
            bodies = [*HOSTILE, "x" * 1_000_000]
            await bury(amqp, FLOW, [dead_letter(f"id-{n}", body=text.encode()) for n, text in enumerate(bodies)])

    asyncio.run(prepare())

    async def ready() -> None:
        async with aiohttp.ClientSession() as client:
            await running.ready(client)

    with running.process:
        asyncio.run(ready())
        yield running
    assert running.tracebacks == []


DOCUMENTED = {
    int(status)
    for item in document()["paths"].values()
    for operation in item.values()
    for status in operation["responses"]
} | {100, 302, 303, 417}
OPERATIONS = sorted(document()["paths"])
PAGES = [
    "/",
    "/flow",
    "/attempts",
    "/event",
    "/dead",
    "/replay",
    "/job",
    "/control",
    "/actions",
    "/about",
    "/live/flow",
    "/live/job",
    "/static/x.js",
    "/nothing",
]
FORMS = ["/control", "/replay", "/replay/selected", "/job/cancel", "/export"]
PARAMETERS = sorted(
    {parameter["name"] for parameter in document()["components"]["parameters"].values()} | {"ids", "of"}
)

texts = st.sampled_from(HOSTILE) | st.text(max_size=30)
queries = st.lists(st.tuples(st.sampled_from(PARAMETERS) | texts, texts | st.just(FLOW)), max_size=4).map(
    lambda pairs: urlencode([(name, value.encode(errors="replace")) for name, value in pairs])
)
raw_queries = st.binary(max_size=60).map(lambda value: value.translate(None, b" \r\n\0"))
members = st.dictionaries(
    st.sampled_from(["flow", "ids", "all", "reason", "status", "type", "since", "until", "rate_per_s", "id"]) | texts,
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | texts | st.just(FLOW),
        lambda part: st.lists(part, max_size=3) | st.dictionaries(texts, part, max_size=2),
        max_leaves=5,
    ),
    max_size=5,
)
bodies = members.map(lambda value: json.dumps(value).encode()) | st.sampled_from(
    [b"[" * 50_000, b"{", b"\xff", b'{"a":' * 2000, b"1" * 10_000, b'{"flow": "\\ud800"}', b"x" * 300_000]
)


def exchange(service: Service, request: bytes) -> bytes:
    """Send bytes and then that no more will come; return all answers. An endless one is cut off."""
    place = urlsplit(service.url)
    answers = b""
    with (
        suppress(ConnectionError, TimeoutError),
        socket.create_connection((place.hostname, place.port), timeout=5) as connection,
    ):
        connection.sendall(request)
        while len(answers) < 8_000_000 and b"text/event-stream" not in answers[:4000]:
            if not (chunk := connection.recv(65536)):
                break
            answers += chunk
    return answers


def check(answers: bytes) -> list[int]:
    """Check that each answer is documented and harmless; return their statuses."""
    statuses = [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answers)]
    assert set(statuses) <= DOCUMENTED, statuses
    head, _, body = answers.partition(b"\r\n\r\n")
    if statuses:
        assert b"x-content-type-options: nosniff" in head.lower() or statuses == [100], head
        assert b"\r\nset-cookie" not in head.lower()
    if b"text/html" in head:
        assert MARK.encode() not in body
    return statuses


def request_of(method: bytes, target: bytes, headers: list[bytes], body: bytes = b"") -> bytes:
    lines = [b"%b %b HTTP/1.1" % (method, target), b"Host: localhost", b"Connection: close", *headers]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body])


@pytest.mark.timeout(TIMEOUT_S)
@fuzzed
@given(path=st.sampled_from(OPERATIONS + PAGES), query=queries.map(str.encode) | raw_queries)
def test_any_query_gets_a_documented_answer_that_no_browser_runs(service: Service, path: str, query: bytes) -> None:
    assert check(exchange(service, request_of(b"GET", path.encode() + b"?" + query, [])))


@pytest.mark.timeout(TIMEOUT_S)
@fuzzed
@given(path=st.sampled_from([path for path in OPERATIONS if "post" in document()["paths"][path]]), body=bodies)
def test_any_body_gets_a_documented_answer(service: Service, path: str, body: bytes) -> None:
    headers = [b"Content-Type: application/json"]
    assert check(exchange(service, request_of(b"POST", path.encode(), headers, body)))


@pytest.mark.timeout(TIMEOUT_S)
@fuzzed
@given(
    path=st.sampled_from(FORMS),
    form=queries.map(str.encode) | raw_queries | bodies,
    content_type=st.sampled_from(
        [
            b"application/x-www-form-urlencoded",
            b"application/x-www-form-urlencoded; charset=nonsense",
            b"multipart/form-data",
            b"multipart/form-data; boundary=x",
            b"text/plain",
            b"\xff",
        ]
    ),
)
def test_any_form_gets_a_documented_answer(service: Service, path: str, form: bytes, content_type: bytes) -> None:
    headers = [b"Sec-Fetch-Site: same-origin", b"Content-Type: " + content_type]
    assert check(exchange(service, request_of(b"POST", path.encode(), headers, form)))


NAMES = [b"Host", b"Origin", b"Authorization", b"Content-Type", b"Sec-Fetch-Site", b"X-Forwarded-For", b"Accept", b"X"]
header_lines = st.tuples(
    st.sampled_from(NAMES),
    st.binary(max_size=30).map(lambda value: value.translate(None, b"\r\n\0"))
    | st.sampled_from([b"null", b"same-origin", b"Basic AAAA", b"application/json", b"x" * 9000, MARK.encode()]),
).map(lambda pair: b"%b: %b" % pair)


@pytest.mark.timeout(TIMEOUT_S)
@fuzzed
@given(
    method=st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"HEAD", b"BREW"]),
    path=st.sampled_from(OPERATIONS + PAGES),
    headers=st.lists(header_lines, max_size=5),
    cuts=st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=6)), max_size=3),
)
def test_broken_http_gets_a_documented_answer_or_none(
    service: Service, method: bytes, path: str, headers: list[bytes], cuts: list[tuple[int, bytes]]
) -> None:
    request = request_of(method, path.encode(), headers)
    for at, noise in cuts:
        request = request[:at] + noise + request[at:]
    check(exchange(service, request + b"\r\n\r\n"))
    assert check(exchange(service, request_of(b"GET", b"/api/v1/openapi.json", []))) == [200]


@pytest.mark.parametrize("text", HOSTILE[:5])
def test_hostile_records_are_shown_and_do_nothing(service: Service, text: str) -> None:
    for path in ("/api/v1/event", "/event"):
        answers = exchange(service, request_of(b"GET", f"{path}?id={quote(text[:200])}&flow={FLOW}".encode(), []))
        assert check(answers)[0] in {200, 400, 404}
    for number in range(len(HOSTILE) + 1):
        assert check(exchange(service, request_of(b"GET", f"/event?id=id-{number}&flow={FLOW}".encode(), [])))
    for path in ("/attempts", "/dead", "/flow", "/actions"):
        assert check(exchange(service, request_of(b"GET", f"{path}?flow={FLOW}".encode(), [])))[0] in {200, 404}


@pytest.mark.timeout(TIMEOUT_S)
def test_schemathesis_finds_nothing_against_the_description(service: Service, tmp_path: Path) -> None:
    config = tmp_path / "schemathesis.toml"
    config.write_text(f'[parameters]\n"query.flow" = "{FLOW}"\n')
    root = Path(__file__).parents[2]
    options = ("--phases", "coverage,fuzzing", "--max-examples", str(max(20, CASES // 20)), "--no-color")
    options += ("--seed", os.environ.get("FUZZ_SEED", "20261129"))
    url = f"{service.url}/api/v1/openapi.json"
    run = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "--config-file", config, "run", url, *options],
        cwd=tmp_path,
        env=scrubbed_environment()
        | {"SCHEMATHESIS_HOOKS": "tests.support.schemathesis_console_hooks", "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
