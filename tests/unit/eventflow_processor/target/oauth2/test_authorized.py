"""Attempts at a target that asks for a token, by both clients, over sockets."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import web

from eventflow.network.certificates import UnusableCertificateError
from eventflow.network.client_tls import context_for_tokens
from eventflow.network.http_proxy import parse_proxy_url
from eventflow.network.tls_files import TlsFiles
from eventflow_processor.target.oauth2 import endpoint
from eventflow_processor.target.oauth2.endpoint import ANSWER_MAX_BYTES, TokenEndpoint
from eventflow_processor.target.oauth2.grant import Grant, NoToken, Token
from eventflow_processor.target.oauth2.target import AuthorizedTarget
from eventflow_processor.target.oauth2.tokens import Tokens
from eventflow_processor.target.port import Charge
from eventflow_processor.target.request import Additions, Bearer, RequestForm
from eventflow_processor.target.result import AttemptNotMadeError, Errored, Failed, Result, Succeeded
from sandbox.ports import free_port
from tests.support.certificates import Authority
from tests.support.forward_proxy import PASSWORD, USER, forward_proxy
from tests.support.http_targets import CLIENTS, HttpTarget, envelope, refuse, target_at
from tests.support.raw_target import serving
from tests.support.token_endpoint import SECRET, Identity, identity
from tests.support.wait import eventually

SENT = Succeeded(status=204)


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> type[HttpTarget]:
    """Each HTTP client."""
    return cast("type[HttpTarget]", request.param)


def endpoint_at(url: str, proxy: str | None = None, files: TlsFiles | None = None) -> TokenEndpoint:
    return TokenEndpoint(
        Grant(url=url, client_id="event-flow", secret=SECRET, scope="events"),
        tls=lambda: context_for_tokens(files or TlsFiles()),
        proxy=None if proxy is None else parse_proxy_url(proxy),
    )


@asynccontextmanager
async def authorized(client: type[HttpTarget], here: Identity, **changes: Any) -> AsyncIterator[AuthorizedTarget]:
    bearer = Bearer()
    form = RequestForm(additions=Additions(bearer=bearer))
    async with target_at(client, here.target_url, form=form, **changes) as target:
        tokens = Tokens(
            endpoint_at(here.token_url).fetch,
            flow="f",
            bearer=bearer,
            hide=target.judge.hide_token,
            on_awaited=lambda _: None,  # nothing else sends here
        )
        whole = AuthorizedTarget(target, tokens)
        try:
            yield whole
        finally:
            await whole.close()


async def result_of(target: AuthorizedTarget, charge: Charge = refuse) -> Result:
    ended: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
    target.start(envelope(), charge=charge, on_result=ended.set_result)
    return await ended


def at_once(send: Callable[[], None]) -> None:
    send()


async def test_one_token_serves_all_attempts(client: type[HttpTarget]) -> None:
    async with identity() as here, authorized(client, here) as target:
        here.delay_s = 0.05
        assert await asyncio.gather(*(result_of(target) for _ in range(20))) == [SENT] * 20
        assert await result_of(target) == SENT
        assert len(here.requests) == 1
        request, body = here.requests[0]
        assert request.headers["Authorization"].startswith("Basic ")
        assert body == "grant_type=client_credentials&scope=events"


async def test_a_token_that_ends_is_replaced(client: type[HttpTarget]) -> None:
    async with identity() as here, authorized(client, here) as target:
        here.lifetime_s = 0.2
        assert await result_of(target) == SENT
        await asyncio.sleep(0.25)
        assert await result_of(target) == SENT
        assert len(here.tokens) == 2


async def test_a_revoked_token_is_replaced_within_the_attempt(client: type[HttpTarget]) -> None:
    charged = []

    def charge(send: Callable[[], None]) -> None:
        charged.append(True)
        send()

    async with identity() as here, authorized(client, here) as target:
        await result_of(target)
        here.revoke()
        results = await asyncio.gather(*(result_of(target, charge) for _ in range(10)))
        assert results == [SENT] * 10, "no attempt is lost or counted"
        assert len(here.requests) == 2, "one fetch for all of them"
        assert len(charged) == 10, "each repeated request needs the quota"


async def test_a_target_that_refuses_every_token_is_not_asked_for_ever(client: type[HttpTarget]) -> None:
    async with identity() as here, authorized(client, here) as target:
        here.accepts = False
        for _ in range(3):
            result = await result_of(target, at_once)
            assert isinstance(result, Failed)
            assert (result.reason, result.status) == ("client_error", 401)
            assert "t0ken" not in (result.text or ""), "the answer repeats it"
        assert len(here.requests) == 2
        assert len(here.received) == 4


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (web.Response(status=503), "HTTP 503"),
        (web.json_response({"error": "invalid_client"}, status=401), "HTTP 401, invalid_client"),
        (web.Response(status=307, headers={"Location": "http://127.0.0.1:1/"}), "HTTP 307"),
        (web.Response(text="<html>t0ken</html>"), "its answer has no access token that a header can carry"),
        (web.Response(body=b"x" * (ANSWER_MAX_BYTES + 1)), f"its answer is longer than {ANSWER_MAX_BYTES} bytes"),
    ],
)
async def test_without_a_token_nothing_is_sent(client: type[HttpTarget], answer: web.Response, text: str) -> None:
    async with identity() as here, authorized(client, here) as target:
        here.answer = answer
        result = await result_of(target)
        assert result == Failed(reason="connection", detail="no_token", reached=False, answered=False)
        assert isinstance(result, Failed)
        assert result.text == f"{here.token_url.removesuffix('/token')}: {text}"
        assert here.received == []


async def test_an_endpoint_that_is_away_or_slow_is_a_cause_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    assert await endpoint_at(f"http://127.0.0.1:{port}/token?x=s3cret").fetch() == NoToken(
        text=f"http://127.0.0.1:{port}: no_listener: nothing listens on its port"
    )
    monkeypatch.setattr(endpoint, "FETCH_MAX_S", 0.1)
    async with identity() as here:
        here.delay_s = 0.3
        fetched = await endpoint_at(here.token_url).fetch()
        assert isinstance(fetched, NoToken)
        assert fetched.text.endswith(": no answer within 0.1 s")


async def test_an_endpoint_that_does_not_speak_http_is_a_cause_in_words() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"SSH-2.0-s3cret\r\n\r\n")
        await writer.drain()

    async with serving(serve) as port:
        fetched = await endpoint_at(f"http://127.0.0.1:{port}/").fetch()
    assert fetched == NoToken(text=f"http://127.0.0.1:{port}: bad_answer: the answer is not HTTP")


async def test_a_token_is_fetched_through_the_proxy() -> None:
    async with identity() as here, forward_proxy(asks_password=True) as proxy:
        with_user = proxy.url.replace("//", f"//{USER}:{PASSWORD.replace(':', '%3A').replace('/', '%2F')}@")
        assert isinstance(await endpoint_at(here.token_url, with_user).fetch(), Token)
        assert proxy.heads[0].startswith(f"POST {here.token_url} HTTP/1.1\r\n")
        refused = await endpoint_at("https://id.invalid/token", proxy.url).fetch()
        assert refused == NoToken(text="https://id.invalid: the proxy answers HTTP 407")


async def test_the_ca_of_a_target_is_trusted_at_its_token_endpoint_too(tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"access_token": "t", "token_type": "Bearer"}'
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()

    async with serving(serve, tls=authority.server_of("DNS:localhost")) as port:
        url = f"https://localhost:{port}/token"
        assert isinstance(await endpoint_at(url, files=TlsFiles(ca_file=str(authority.certificate))).fetch(), Token)
        unknown = await endpoint_at(url).fetch()
    assert isinstance(unknown, NoToken)
    assert "certificate_unknown_ca" in unknown.text
    with pytest.raises(UnusableCertificateError):
        context_for_tokens(TlsFiles(ca_file="/nowhere"))


async def test_an_abandoned_attempt_has_no_result(client: type[HttpTarget]) -> None:
    results: list[Result] = []
    async with identity() as here, authorized(client, here) as target:
        here.delay_s = 0.1
        waiting = target.start(envelope(), charge=refuse, on_result=results.append)
        await eventually(lambda: bool(here.requests), what="a request for a token")
        waiting.abandon()
        await eventually(target.tokens.is_usable, what="a token")
        target.start(envelope(), charge=refuse, on_result=results.append).abandon()
        held: list[Callable[[], None]] = []
        here.revoke()
        attempt = target.start(envelope(), charge=held.append, on_result=results.append)
        await eventually(lambda: bool(held), what="the repeat is asked for")
        attempt.abandon()
        held[0]()
        await asyncio.sleep(0.05)
    assert results == []


async def test_an_error_while_the_repeat_is_charged_is_the_result(client: type[HttpTarget]) -> None:
    error = AttemptNotMadeError("the gate is closed")

    def charge(_: Callable[[], None]) -> None:
        raise error

    async with identity() as here, authorized(client, here) as target:
        await result_of(target)
        here.revoke()
        assert await result_of(target, charge) == Errored(error=error)
