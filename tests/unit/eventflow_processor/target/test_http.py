"""One attempt: failures of the target, of a connection that was kept too long, and of our own."""

import asyncio
import os
import resource
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import cast

import pytest

from eventflow_processor.target.result import AttemptNotMadeError, Errored, Failed, Result, Succeeded
from eventflow_processor.target.success import SuccessRule
from sandbox.ports import free_port
from tests.support.http_targets import CLIENTS, HttpTarget, attempt_at, envelope, refuse, result_of, target_at
from tests.support.raw_target import RawRequest, RawTarget
from tests.support.target import ScriptedTarget
from tests.support.wait import eventually

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
DESCRIPTORS = 256

NO_LISTENER = Failed(reason="connection", detail="no_listener", reached=False, answered=False)


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> type[HttpTarget]:
    """Each HTTP client: the promises are the same."""
    return cast("type[HttpTarget]", request.param)


async def test_a_target_without_a_listener_is_not_asked_twice(client: type[HttpTarget]) -> None:
    assert await attempt_at(client, f"http://127.0.0.1:{free_port()}/") == (NO_LISTENER, 0)


async def test_a_target_with_an_unknown_name_is_not_asked_twice(
    client: type[HttpTarget], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert await attempt_at(client, "http://target.invalid/") == (replace(NO_LISTENER, detail="not_resolved"), 0)


def writing(
    answer: bytes, *, is_hanging: bool = False
) -> Callable[[RawRequest, asyncio.StreamWriter], Awaitable[None]]:
    async def write(_: RawRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        if not is_hanging:
            writer.close()

    return write


@pytest.mark.parametrize(("answer", "answered"), [(b"", False), (b"H", True), (b"HTTP/1.1 200 OK\r\n", True)])
@pytest.mark.parametrize("is_hanging", [False, True])
async def test_a_failure_is_answered_from_the_first_byte_on(
    client: type[HttpTarget], answer: bytes, answered: bool, is_hanging: bool
) -> None:
    async with RawTarget(writing(answer, is_hanging=is_hanging)) as raw:
        result, _ = await attempt_at(client, raw.url, timeout_s=1 if is_hanging else 5)
        detail = "headers_timeout" if is_hanging else "cut_off" if answered else "closed"
        assert result == Failed(reason="timeout" if is_hanging else "connection", detail=detail, answered=answered)


@pytest.mark.parametrize("greeting", [OK, b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"])
async def test_a_target_that_does_not_speak_tls_is_not_reached(client: type[HttpTarget], greeting: bytes) -> None:
    async with RawTarget(writing(b""), greeting=greeting) as raw:
        assert await attempt_at(client, raw.url.replace("http:", "https:")) == (
            replace(NO_LISTENER, detail="tls_on_plain_port"),
            0,
        )


async def test_an_answer_that_is_a_success_by_the_settings_is_one_with_any_body(client: type[HttpTarget]) -> None:
    """Found by reading: a 400 with these words was taken for a TLS port's, and its event sent again and again."""

    async def answer(_: RawRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 22\r\n\r\nthis API requires TLS\n")

    async with RawTarget(answer) as raw:
        for statuses in (frozenset({200}), frozenset({200, 400})):
            async with target_at(
                client,
                raw.url,
                success=SuccessRule(statuses=statuses),
            ) as target:
                result = await result_of(target)
                assert isinstance(result, Succeeded) == (400 in statuses)


async def test_a_request_carries_our_headers_and_the_settings_ones_in_their_place(client: type[HttpTarget]) -> None:
    """Nothing is added by the library: no type that the event has not, no offer to read a compressed answer."""
    async with (
        ScriptedTarget() as scripted,
        target_at(
            client,
            scripted.url,
            headers={"user-agent": "shop/1", "X-Key": "k"},
        ) as target,
    ):
        sent = envelope()
        await result_of(target, sent)
    (receipt,) = scripted.of(sent.event.id)
    assert {name.lower() for name in receipt.headers if not name.startswith("ce-")} == {
        *("host", "content-length", "accept", "user-agent", "x-key", "idempotency-key", "eventflow-attempt")
    }
    assert receipt.headers["User-Agent"] == "shop/1"


async def stale(request: RawRequest, writer: asyncio.StreamWriter) -> None:
    """Answer the first request of a connection, and end it at the second."""
    if request.number:
        writer.close()
    else:
        writer.write(OK)


@pytest.mark.parametrize("error", [AttemptNotMadeError("the gate is closed"), TimeoutError(), OSError(28, "no space")])
async def test_an_error_while_a_repeat_is_charged_ends_the_attempt_as_it_is(
    client: type[HttpTarget], error: Exception
) -> None:
    """It is ours: taken for the target's, it would count an attempt for a request that was never made."""

    def charge(_: Callable[[], None]) -> None:
        raise error

    async with RawTarget(stale) as raw, target_at(client, raw.url) as target:
        await result_of(target)
        result = await result_of(target, charge=charge)
        assert isinstance(result, Errored)
        assert result.error is error
        assert error.__context__ is None
        assert len(raw.requests) == 2
        assert await result_of(target) == Succeeded(status=200), "nothing is held"


async def test_a_repeat_waits_as_long_as_its_charge_takes(client: type[HttpTarget]) -> None:
    """The deadline of an attempt is each request's; a gate may stay closed for longer."""

    def charge(send: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(1.2, send)

    async with RawTarget(stale) as raw, target_at(client, raw.url, timeout_s=1) as target:
        for _ in range(2):
            assert await result_of(target, charge=charge) == Succeeded(status=200)
        assert [request.connection for request in raw.requests] == [0, 0, 1]
        assert raw.requests[2].at_s - raw.requests[1].at_s >= 1.2


async def test_an_attempt_that_is_abandoned_has_no_result(client: type[HttpTarget]) -> None:
    """At its beginning, while it waits for an answer, while a repeat waits for its charge, and when it has ended."""
    results: list[Result] = []
    loop = asyncio.get_running_loop()
    async with RawTarget(writing(b"", is_hanging=True)) as silent, target_at(client, silent.url) as target:
        target.start(envelope(), charge=refuse, on_result=results.append).abandon()
        waiting = target.start(envelope(), charge=refuse, on_result=results.append)
        await eventually(lambda: len(silent.requests) == 1, what="the request")
        waiting.abandon()
    charged: list[Callable[[], None]] = []
    async with RawTarget(stale) as raw, target_at(client, raw.url) as target:
        await result_of(target)
        repeating = target.start(envelope(), charge=charged.append, on_result=results.append)
        await eventually(lambda: len(charged) == 1, what="the charge")
        repeating.abandon()
        charged[0]()
        ended = loop.create_future()
        last = target.start(envelope(), charge=refuse, on_result=ended.set_result)
        assert await ended == Succeeded(status=200)
        last.abandon()
        assert [request.connection for request in raw.requests] == [0, 0, 1], "nothing was repeated"
    assert results == []


async def test_the_end_of_a_target_abandons_what_is_in_flight(client: type[HttpTarget]) -> None:
    results: list[Result] = []
    async with RawTarget(writing(b"", is_hanging=True)) as silent:
        async with target_at(client, silent.url) as target:
            target.start(envelope(), charge=refuse, on_result=results.append)
            await eventually(lambda: len(silent.requests) == 1, what="the request")
        await asyncio.sleep(0)
    assert results == []


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    held: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, limits[1]))
    try:
        with suppress(OSError):
            while True:
                held.append(os.dup(0))
        yield
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_no_descriptor_left_is_ours_and_makes_no_attempt(client: type[HttpTarget], host: str) -> None:
    """Reproduced on 0.1.0: `ulimit -n 64`: 238 attempts counted against a healthy target."""
    async with RawTarget(writing(OK)) as raw, target_at(client, raw.url.replace("127.0.0.1", host)) as target:
        with no_descriptor_left():
            assert_not_made(await result_of(target))
        assert await result_of(target) == Succeeded(status=200)


@pytest.mark.parametrize("host", [".default.svc", "a" * 64 + ".test", "127.1"])
async def test_a_host_that_cannot_be_one_is_no_failure_of_an_event(client: type[HttpTarget], host: str) -> None:
    """openbikesensor/portal#301, if such a URL gets past the settings. Reproduced on 0.1.0: 20 of 20 events dead."""
    result, _ = await attempt_at(client, f"http://{host}/")
    assert_not_made(result)


def assert_not_made(result: Result) -> None:
    assert isinstance(result, Errored)
    assert isinstance(result.error, AttemptNotMadeError)
