"""The words of a target or of the network for a failure, by each of the HTTP clients over real sockets."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable

import pytest

from eventflow_processor.target.result import BY_STATUS, Failed
from eventflow_processor.target.success import SuccessRule
from sandbox.ports import free_port
from tests.support.http_targets import CLIENTS, HttpTarget, attempt_at
from tests.support.raw_target import RawRequest, RawTarget

pytestmark = pytest.mark.parametrize("client", CLIENTS)


def writing(
    answer: bytes, *, is_hanging: bool = False
) -> Callable[[RawRequest, asyncio.StreamWriter], Awaitable[None]]:
    async def write(_: RawRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        if not is_hanging:
            writer.close()

    return write


async def failure_of(
    client: type[HttpTarget], answer: bytes, *, is_hanging: bool = False, success: SuccessRule = BY_STATUS
) -> Failed:
    async with RawTarget(writing(answer, is_hanging=is_hanging)) as raw:
        result, _ = await attempt_at(
            client,
            raw.url,
            timeout_s=1.5 if is_hanging else 5,
            success=success,
            headers={"Authorization": "Bearer t0ps3cret"},
        )
    assert isinstance(result, Failed)
    return result


@pytest.mark.parametrize("status", [302, 401, 404, 422, 429, 500])
async def test_a_failed_answer_keeps_the_beginning_of_its_body(client: type[HttpTarget], status: int) -> None:
    body = b'{"errors": {"sku": ["is taken"]},\n "token": "t0ps3cret"}'
    answer = b"HTTP/1.1 %d No\r\nX-Secret: of-the-target\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)
    failed = await failure_of(client, answer)
    assert (failed.status, failed.text) == (status, r'{"errors": {"sku": ["is taken"]},\n "token": "***"}')


async def test_a_body_in_another_segment_is_waited_for(client: type[HttpTarget]) -> None:
    async def write(_: RawRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 422 No\r\nContent-Length: 9\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(b"too small")

    async with RawTarget(write) as raw:
        result, _ = await attempt_at(client, raw.url)
    assert isinstance(result, Failed)
    assert result.text == "too small"


@pytest.mark.timed
async def test_a_body_that_never_ends_delays_its_failure_by_a_second_at_most(client: type[HttpTarget]) -> None:
    began_s = asyncio.get_running_loop().time()
    failed = await failure_of(client, b"HTTP/1.1 500 No\r\nContent-Length: 99\r\n\r\npart", is_hanging=True)
    assert (failed.reason, failed.status, failed.text) == ("server_error", 500, "part")
    assert asyncio.get_running_loop().time() - began_s < 1.4


async def test_a_compressed_or_empty_body_is_shown_safely(client: type[HttpTarget]) -> None:
    body = gzip.compress(b"secret")
    head = b"HTTP/1.1 500 No\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    text = (await failure_of(client, head + body)).text
    assert text is not None
    assert text.startswith(r"\x1f\x8b")
    assert (await failure_of(client, b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")).text is None


async def test_bytes_in_place_of_an_answer_are_shown(client: type[HttpTarget]) -> None:
    failed = await failure_of(client, b"220 mail.test ESMTP\x07\r\n")
    assert (failed.reason, failed.detail, failed.text) == ("connection", "bad_answer", r"220 mail.test ESMTP\x07")


async def test_no_header_of_a_broken_head_is_shown(client: type[HttpTarget]) -> None:
    failed = await failure_of(client, b"HTTP/1.1 2x0 Odd\r\nSet-Cookie: session=of-the-target\r\n\r\n")
    assert (failed.detail, failed.text) == ("bad_answer", "HTTP/1.1 2x0 Odd")
    failed = await failure_of(client, b"HTTP/1.1 200 OK\r\nSet-Cookie: of-the-target\r\nContent-Length: many\r\n\r\n")
    assert "of-the-target" not in (failed.text or "")


async def test_a_long_token_in_an_echo_of_our_request_is_hidden_although_only_its_beginning_was_read(
    client: type[HttpTarget],
) -> None:
    token = "eyJ" + "abcdefghij" * 120
    echo = f"POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    async with RawTarget(writing(echo)) as raw:
        result, _ = await attempt_at(client, raw.url, headers={"Authorization": f"Bearer {token}"})
    assert isinstance(result, Failed)
    assert (result.text or "").startswith(r"POST / HTTP/1.1\r\nHost: a\r\nAuthorization: ***")
    assert "eyJ" not in (result.text or "")


async def test_a_token_in_which_an_answer_ends_is_hidden(client: type[HttpTarget]) -> None:
    failed = await failure_of(client, b"HTTP/1.1 500 No\r\nContent-Length: 99\r\n\r\nno token t0ps3c", is_hanging=True)
    assert failed.text == "no token ***"


async def test_a_refused_connection_has_the_words_of_the_system(client: type[HttpTarget]) -> None:
    port = free_port()
    result, _ = await attempt_at(client, f"http://127.0.0.1:{port}/")
    assert isinstance(result, Failed)
    assert result.detail == "no_listener"
    assert str(port) in (result.text or "")


async def test_each_place_of_a_timeout_has_a_word(client: type[HttpTarget]) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
    before = await failure_of(client, head[:20], is_hanging=True)
    within = await failure_of(client, head + b"{", is_hanging=True, success=SuccessRule(is_graphql=True))
    assert (before.reason, before.detail) == ("timeout", "headers_timeout")
    assert (within.reason, within.detail, within.text) == ("timeout", "body_timeout", "{")
