"""Connections of an HTTP client: an answer is given to no other attempt, and no connection is used after its end."""

import asyncio
import gc
import random
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest

from eventflow.network.resolver import Resolver
from eventflow_processor.target.answer import AnswerJudge
from eventflow_processor.target.lean.client import LeanTarget
from eventflow_processor.target.lean.connection import Connection
from eventflow_processor.target.lean.reader import AnswerReader
from eventflow_processor.target.port import Attempt
from eventflow_processor.target.result import Errored, Failed, Result, Succeeded
from eventflow_processor.target.success import SuccessRule
from tests.support.certificates import Authority
from tests.support.hostile import Ending, hostile_answer
from tests.support.http_targets import CLIENTS, HttpTarget, attempt_at, envelope, refuse, result_of, target_at
from tests.support.raw_target import RawRequest, RawTarget, serving
from tests.support.wait import eventually

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
NO = b"HTTP/1.1 422 No\r\nContent-Length: 0\r\n\r\n"
LARGE = b"x" * 8_000_000

Write = Callable[[RawRequest, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> type[HttpTarget]:
    """Each HTTP client."""
    return cast("type[HttpTarget]", request.param)


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """A CA that both clients trust."""
    authority = Authority(tmp_path)
    context = ssl.create_default_context(cafile=str(authority.certificate))
    monkeypatch.setattr("eventflow.network.client_tls._system_context", lambda: context)
    return authority


def at_once(send: Callable[[], None]) -> None:
    """Charge that allows a repeated request."""
    send()


def answering(*answers: bytes) -> Write:
    """Write the answers to the first, second, ... request, and the last to each further one."""
    left = list(answers)

    async def write(_: RawRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(left.pop(0) if len(left) > 1 else left[0])

    return write


# An answer belongs to one attempt


@pytest.mark.timed
async def test_an_answer_after_the_deadline_is_given_to_no_other_attempt(client: type[HttpTarget]) -> None:
    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        if len(raw.requests) == 1:
            await is_late.wait()
            writer.write(NO)
        else:
            is_late.set()
            await asyncio.sleep(0.02)  # so that the late answer arrives during this attempt
            writer.write(OK)

    is_late = asyncio.Event()
    async with RawTarget(answer) as raw, target_at(client, raw.url, timeout_s=0.4) as target:
        assert await result_of(target) == Failed(reason="timeout", detail="headers_timeout", answered=False)
        for _ in range(3):
            assert await result_of(target) == Succeeded(status=200)
        assert [request.connection for request in raw.requests] == [0, 1, 1, 1]


async def test_the_answer_to_an_abandoned_attempt_is_given_to_no_other_attempt(client: type[HttpTarget]) -> None:
    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        if request.id == "abandoned":
            await is_abandoned.wait()
            writer.write(NO)
        else:
            writer.write(OK)

    is_abandoned = asyncio.Event()
    results: list[Result] = []
    async with RawTarget(answer) as raw, target_at(client, raw.url) as target:
        attempt = target.start(envelope(id="abandoned"), charge=refuse, on_result=results.append)
        await eventually(lambda: len(raw.requests) == 1, what="the request")
        attempt.abandon()
        is_abandoned.set()
        for _ in range(3):
            assert await result_of(target) == Succeeded(status=200)
        assert results == []


async def test_attempts_side_by_side_get_their_own_answers(client: type[HttpTarget]) -> None:
    """Each event asks for a status. Late, early and abandoned ones share the connections."""

    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        number = int(request.id)
        if number % 7 == 0:
            await asyncio.sleep(1.2 if number % 3 else 0.05)
        else:
            await asyncio.sleep(random.random() / 50)
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nok" % (200 + number % 50))

    got: dict[int, list[Result]] = {number: [] for number in range(200)}
    async with RawTarget(answer) as raw, target_at(client, raw.url, timeout_s=1) as target:

        async def ask(numbers: list[int]) -> None:
            for number in numbers:
                ended = asyncio.Event()

                def on_result(result: Result, number: int = number, ended: asyncio.Event = ended) -> None:
                    got[number].append(result)
                    ended.set()

                attempt = target.start(envelope(id=str(number)), charge=at_once, on_result=on_result)
                if number % 11 == 0:
                    await asyncio.sleep(0.005)
                    attempt.abandon()
                else:
                    await ended.wait()

        await asyncio.gather(*(ask(list(range(start, 200, 20))) for start in range(20)))
        await asyncio.sleep(0.3)
    for number, results in got.items():
        assert len(results) == (1 if number % 11 else len(results[:1]))
        for result in results:
            if isinstance(result, Succeeded):
                assert result.status == 200 + number % 50
            else:
                assert isinstance(result, Failed)
                assert result.reason == "timeout"
                assert number % 7 == 0


async def test_an_attempt_that_is_started_by_a_result_uses_the_connection_of_that_result() -> None:
    """The lean client reports a result inside the callback of the connection, which is free by then."""
    results: list[Result] = []

    def on_result(result: Result) -> None:
        results.append(result)
        if len(results) < 50:
            target.start(envelope(), charge=refuse, on_result=on_result)
        else:
            ended.set()

    ended = asyncio.Event()
    async with RawTarget(answering(OK)) as raw, target_at(LeanTarget, raw.url) as target:
        target.start(envelope(), charge=refuse, on_result=on_result)
        await ended.wait()
        assert results == [Succeeded(status=200)] * 50
        assert {request.connection for request in raw.requests} == {0}


async def test_an_attempt_that_is_abandoned_by_its_result_harms_no_other(client: type[HttpTarget]) -> None:
    results: list[Result] = []
    attempts: list[Attempt] = []

    def on_result(result: Result) -> None:
        results.append(result)
        if len(results) == 1:
            attempts.append(target.start(envelope(), charge=refuse, on_result=on_result))
        attempts[0].abandon()

    async with RawTarget(answering(OK)) as raw, target_at(client, raw.url) as target:
        attempts.append(target.start(envelope(), charge=refuse, on_result=on_result))
        await eventually(lambda: len(results) == 2, what="the result of the second attempt")
        await asyncio.sleep(0.05)
        assert results == [Succeeded(status=200)] * 2


async def test_an_error_of_our_own_is_a_result(client: type[HttpTarget], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ArithmeticError("a bug")

    async with RawTarget(answering(OK)) as raw, target_at(client, raw.url) as target:
        with monkeypatch.context() as bug:
            bug.setattr(AnswerJudge, "result_of", fail)
            result = await result_of(target)
        assert isinstance(result, Errored)
        assert isinstance(result.error, ArithmeticError)
        assert await result_of(target) == Succeeded(status=200)


# Bodies


@pytest.mark.parametrize(
    ("rest", "is_kept"),
    [
        (b"Content-Length: 60000\r\n\r\n" + b"x" * 60_000, True),
        (b"Content-Length: 90000\r\n\r\n" + b"x" * 90_000, False),
        (b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 5000 + b"0\r\nTrailer: x\r\n\r\n", True),
        (b"Content-Length: 5\r\n\r\nx", False),
        (b"Connection: close\r\nContent-Length: 0\r\n\r\n", False),
    ],
)
@pytest.mark.timed
async def test_a_success_waits_a_moment_for_its_body(client: type[HttpTarget], rest: bytes, is_kept: bool) -> None:
    """The result is certain. The body is read only so that the connection can be used again."""

    async def answer(_: RawRequest, writer: asyncio.StreamWriter) -> None:
        text = b"HTTP/1.1 200 OK\r\n" + rest
        for start in range(0, len(text), 20_000):
            writer.write(text[start : start + 20_000])
            await asyncio.sleep(0.01)

    async with RawTarget(answer) as raw, target_at(client, raw.url) as target:
        began_s = time.monotonic()
        for _ in range(2):
            assert await result_of(target) == Succeeded(status=200)
        assert time.monotonic() - began_s < 4
        assert [request.connection for request in raw.requests] == [0, 0 if is_kept else 1]


@pytest.mark.parametrize("text", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\n"])
async def test_a_body_can_end_with_its_connection(client: type[HttpTarget], text: bytes) -> None:
    async def answer(_: RawRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        await asyncio.sleep(0.01)
        writer.write(b'{"ok": 1}')
        writer.close()

    rule = SuccessRule(present=("/ok",))
    async with RawTarget(answer) as raw:
        assert await attempt_at(client, raw.url, success=rule) == (Succeeded(status=200), 0)


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # aiohttp
@pytest.mark.parametrize("has_tls", [False, True])
async def test_an_answer_before_the_end_of_the_request_counts_and_ends_the_connection(
    client: type[HttpTarget], authority: Authority, has_tls: bool
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        with suppress(TimeoutError):  # the end of the connection, since the rest of the request is not read
            await asyncio.wait_for(writer.wait_closed(), 0.3)

    connections = 0
    scheme = "https" if has_tls else "http"
    async with (
        serving(serve, tls=authority.server_of("IP:127.0.0.1") if has_tls else None) as port,
        target_at(client, f"{scheme}://127.0.0.1:{port}/") as target,
    ):
        for number in (1, 2):
            result = await result_of(target, envelope(body=LARGE))
            assert result == Failed(reason="client_error", status=413)
            assert connections == number


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # aiohttp
async def test_a_target_that_does_not_read_meets_the_deadline(client: type[HttpTarget]) -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await is_over.wait()

    is_over = asyncio.Event()

    async with serving(serve) as port:
        async with target_at(client, f"http://127.0.0.1:{port}/", timeout_s=0.3) as target:
            result = await result_of(target, envelope(body=LARGE))
            assert result == Failed(reason="timeout", detail="headers_timeout", answered=False)
        is_over.set()


# Idle connections


async def test_a_connection_that_ends_while_it_is_idle_is_not_used(client: type[HttpTarget]) -> None:
    async def answer(_: RawRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        writer.close()

    async with RawTarget(answer) as raw, target_at(client, raw.url) as target:
        for number in range(3):
            assert await result_of(target) == Succeeded(status=200)
            await asyncio.sleep(0.02)
            assert raw.requests[-1].connection == number


async def test_a_connection_that_is_idle_for_long_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventflow_processor.target.lean.client.KEPT_S", 0.1)
    async with RawTarget(answering(OK)) as raw, target_at(LeanTarget, raw.url) as target:
        assert await result_of(target) == Succeeded(status=200)
        assert await result_of(target) == Succeeded(status=200)
        await eventually(raw.writers[0].transport.is_closing, what="the end of the idle connection")
        assert await result_of(target) == Succeeded(status=200)
        assert [request.connection for request in raw.requests] == [0, 0, 1]


async def test_a_connection_is_not_kept_if_bytes_may_wait_behind_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that fills the buffer may leave bytes in the TLS layer, unseen by a poll of the socket."""
    for size, connections in ((len(OK), [0, 1, 2]), (len(OK) + 1, [0, 0, 0])):
        monkeypatch.setattr("eventflow_processor.target.lean.client.READ_MAX_BYTES", size)
        async with RawTarget(answering(OK)) as raw, target_at(LeanTarget, raw.url) as target:
            for _ in range(3):
                assert await result_of(target) == Succeeded(status=200)
            assert [request.connection for request in raw.requests] == connections


async def test_the_end_of_a_target_closes_its_connections(client: type[HttpTarget]) -> None:
    async with RawTarget(answering(OK)) as raw:
        async with target_at(client, raw.url) as target:
            await asyncio.gather(*(result_of(target) for _ in range(5)))
        await eventually(lambda: all(writer.transport.is_closing() for writer in raw.writers), what="the ends")


async def test_a_closed_connection_does_not_wait_for_the_garbage_collector() -> None:
    """Some targets close each connection after its answer, and the collector runs seldom in a service."""

    async def answer(_: RawRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with RawTarget(answer) as raw, target_at(LeanTarget, raw.url) as target:
        gc.collect()
        gc.disable()
        try:
            for _ in range(5):
                assert await result_of(target) == Succeeded(status=200)
            await eventually(
                lambda: not any(isinstance(kept, Connection | AnswerReader) for kept in gc.get_objects()),
                what="the end of all connections",
            )
        finally:
            gc.enable()


# Addresses and TLS


async def test_a_target_can_have_an_ipv6_address(client: type[HttpTarget]) -> None:
    hosts: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        hosts.append(head.partition(b"Host: ")[2].partition(b"\r\n")[0])
        writer.write(OK)
        writer.close()

    async with serving(serve, host="::1") as port:
        assert await attempt_at(client, f"http://[::1]:{port}/") == (Succeeded(status=200), 0)
        assert hosts == [b"[::1]:%d" % port]


@pytest.mark.parametrize(
    ("host", "names", "detail"),
    [
        ("localhost", "DNS:localhost", None),
        ("target.test.", "DNS:target.test", None),
        ("127.0.0.1", "IP:127.0.0.1", None),
        ("localhost", "DNS:other.test", "certificate_other_name"),
        ("127.0.0.1", "DNS:localhost", "certificate_other_name"),
    ],
)
async def test_a_certificate_is_verified_for_the_host_of_the_url(
    client: type[HttpTarget], authority: Authority, host: str, names: str, detail: str | None
) -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
            writer.write(OK)

    async with serving(serve, tls=authority.server_of(names)) as port:
        resolver = Resolver(look_up=lambda _, port: socket.getaddrinfo("127.0.0.1", port, type=socket.SOCK_STREAM))
        async with target_at(client, f"https://{host}:{port}/", resolver=resolver) as target:
            results = [await result_of(target) for _ in range(3)]
    if detail is None:
        assert results == [Succeeded(status=200)] * 3
        assert connections == 1
    else:
        assert results == [Failed(reason="connection", detail=detail, reached=False, answered=False)] * 3


# Everything at once


async def test_both_clients_judge_hostile_answers_alike() -> None:
    """Answers are drawn, and end in the same way for both. Those that depend on the moment of a reset are left out."""
    seed = random.randrange(10**6)
    for number in range(150):
        drawn = hostile_answer(random.Random(f"{seed}/{number}"))
        if drawn.ending is Ending.RESET:
            continue
        results = [await _result_of_drawn(client, b"".join(drawn.segments), drawn.ending) for client in CLIENTS]
        assert results[0] == results[1], f"seed {seed}, answer {number}: {drawn}"
        assert isinstance(results[0], Succeeded) == drawn.means_success


async def _result_of_drawn(client: type[HttpTarget], text: bytes, ending: Ending) -> Any:
    async def answer(_: RawRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        if ending is Ending.CLOSED:
            writer.close()

    async with RawTarget(answer) as raw:
        result, charged = await attempt_at(client, raw.url, timeout_s=2)
        assert charged == 0
        return result
