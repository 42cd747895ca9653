"""Visits that confirm subscriptions: over TLS, at pinned hosts only, within limits."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from prometheus_client import Counter
from typing_extensions import override

from eventflow.telemetry.harmless import InternalErrors
from eventflow_collector import fetch
from eventflow_collector.fetch import DOCUMENT_MAX_BYTES, Fetcher, FetchError
from eventflow_collector.senders.handshake import Reply, Visit
from eventflow_collector.server.visits import VISITS_MAX, Visitor
from tests.support.certificates import Authority
from tests.support.wait import eventually

HOST = "sns.us-west-2.amazonaws.com"
HOSTS = ("sns.*-*-*.amazonaws.com",)
URL = f"https://{HOST}/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:us-west-2:1:T&Token=2336%2B41"
REPLY = Reply(status=200, headers={}, body=b"")

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class ToServer(AbstractResolver):
    """Resolves every name to a server of the test."""

    def __init__(self, port: int) -> None:
        self._port = port

    @override
    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:  # type: ignore[override]
        return [ResolveResult(hostname=host, host="127.0.0.1", port=self._port, family=2, proto=6, flags=0)]

    @override
    async def close(self) -> None:
        pass


@asynccontextmanager
async def served(directory: Path, handle: Handle, *, name: str = HOST) -> AsyncIterator[Fetcher]:
    """Serve as Amazon would; yield a fetcher that reaches this server by every name."""
    authority = Authority(directory)
    leaf = authority.issue(f"DNS:{name}")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(leaf)
    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        trusted = ssl.create_default_context(cafile=str(authority.certificate))
        yield Fetcher(resolver=ToServer(runner.addresses[0][1]), tls=trusted)
    finally:
        await runner.cleanup()


async def test_the_address_is_fetched_as_it_was_sent(tmp_path: Path) -> None:
    asked: list[str] = []

    async def handle(request: web.BaseRequest) -> web.Response:
        asked.append(f"https://{request.host}{request.path_qs}")
        return web.Response(body=b"<ConfirmSubscriptionResponse/>")

    async with served(tmp_path, handle) as fetcher:
        assert await fetcher.fetch(URL, hosts=HOSTS) == b"<ConfirmSubscriptionResponse/>"
    assert asked == [URL]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://sns.us-west-2.amazonaws.com/",
        "https://sns.us-west-2.amazonaws.com.evil.example/",
        "https://evil.example/?sns.us-west-2.amazonaws.com",
        "https://evil.example/#sns.us-west-2.amazonaws.com",
        "https://sns.us-west-2.amazonaws.com@evil.example/",
        "https://sns.us-west-2.amazonaws.com:8443/",
        "https://sns.a.b.amazonaws.com/",
        "https://sns..amazonaws.com/",
        "https://evil.example\\@sns.us-west-2.amazonaws.com/",
        "https://127.0.0.1/",
        "https://s3.us-west-2.amazonaws.com/",
        "https://sns.s3.amazonaws.com/",
        "https://sns.s3-us-west-2.amazonaws.com/",
        "https://sns.s3-website-us-west-2.amazonaws.com/",
        "file:///etc/passwd",
        "https://sns.us-west-2.amazonaws.com/\r\nHost: evil.example",
    ],
)
async def test_an_address_elsewhere_is_never_fetched(tmp_path: Path, url: str) -> None:
    async def handle(_: web.BaseRequest) -> web.Response:
        raise AssertionError

    async with served(tmp_path, handle) as fetcher:
        with pytest.raises(FetchError, match="not one of https at a known host"):
            await fetcher.fetch(url, hosts=HOSTS)


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (web.Response, None),
        (lambda: web.Response(status=302, headers={"Location": "https://evil.example/"}), "status 302"),
        (lambda: web.Response(status=403), "status 403"),
        (lambda: web.Response(body=b"x" * (DOCUMENT_MAX_BYTES + 1)), "longer than"),
    ],
)
async def test_only_a_short_success_counts(
    tmp_path: Path, response: Callable[[], web.Response], words: str | None
) -> None:
    async def handle(_: web.BaseRequest) -> web.Response:
        return response()

    async with served(tmp_path, handle) as fetcher:
        if words is None:
            assert await fetcher.fetch(URL, hosts=HOSTS) == b""
        else:
            with pytest.raises(FetchError, match=words) as raised:
                await fetcher.fetch(URL, hosts=HOSTS)
            assert "Token" not in str(raised.value)


async def test_a_certificate_of_another_host_is_not_accepted(tmp_path: Path) -> None:
    async def handle(_: web.BaseRequest) -> web.Response:
        raise AssertionError

    async with served(tmp_path, handle, name="evil.example") as fetcher:
        with pytest.raises(FetchError, match="ClientConnectorCertificateError"):
            await fetcher.fetch(URL, hosts=HOSTS)


async def test_a_server_that_does_not_answer_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "TIMEOUT_S", 0.2)
    forever = asyncio.Event()

    async def handle(_: web.BaseRequest) -> web.Response:
        await forever.wait()
        return web.Response()

    async with served(tmp_path, handle) as fetcher:
        with pytest.raises(FetchError, match=r"within 0\.2 s"):
            await fetcher.fetch(URL, hosts=HOSTS)
        forever.set()


async def test_visits_end_with_their_result_and_are_bounded(tmp_path: Path) -> None:
    results: list[bool] = []
    go_on = asyncio.Event()

    async def handle(_: web.BaseRequest) -> web.Response:
        await go_on.wait()
        return web.Response()

    async with served(tmp_path, handle) as fetcher:
        visitor = Visitor(fetcher, InternalErrors(Counter("errors", "", registry=None)))
        visitor.begin("f", Visit(url="https://evil.example/", hosts=HOSTS, reply=REPLY), results.append)
        await eventually(lambda: results == [False], what="a refused address")
        for _ in range(VISITS_MAX + 1):
            visitor.begin("f", Visit(url=URL, hosts=HOSTS, reply=REPLY), results.append)
        assert results == [False, False]
        go_on.set()
        await eventually(lambda: len(results) == VISITS_MAX + 2, what="the visits")
        assert results[2:] == [True] * VISITS_MAX
        go_on.clear()
        visitor.begin("f", Visit(url=URL, hosts=HOSTS, reply=REPLY), results.append)
        await visitor.close()
        await eventually(lambda: len(results) == VISITS_MAX + 3, what="the end of a visit that had not begun")
        assert results[-1] is False
        go_on.set()
