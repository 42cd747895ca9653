"""Ways to a target, by both clients: through a proxy, with a CA and a client certificate from files, by any method."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from eventflow.network.certificates import UnusableCertificateError
from eventflow.network.client_tls import LOOK_AGAIN_S, ClientTls
from eventflow.network.http_proxy import parse_proxy_url
from eventflow.network.tls_files import TlsFiles
from eventflow.settings.target import TargetSettings
from eventflow_processor.target.request import request_form, static_headers
from eventflow_processor.target.result import Failed, Succeeded, Unsendable
from sandbox.ports import free_port
from tests.support.certificates import Authority, Certificate
from tests.support.forward_proxy import PASSWORD, USER, forward_proxy
from tests.support.http_targets import CLIENTS, HttpTarget, attempt_at, envelope, result_of, target_at
from tests.support.raw_target import serving

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
UNREACHED = Failed(reason="connection", detail="proxy_refused", reached=False, answered=False)


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> type[HttpTarget]:
    """Each HTTP client: the promises are the same."""
    return cast("type[HttpTarget]", request.param)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A CA that no system trusts."""
    return Authority(tmp_path)


@asynccontextmanager
async def recording(answer: bytes = OK, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Run a target that keeps each request; yield its port and the requests."""
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            requests.append(head + await reader.readexactly(length))
            writer.write(answer)

    async with serving(serve, tls=tls) as port:
        yield port, requests


def of_settings(**settings: Any) -> dict[str, Any]:
    """Return the arguments of a client that follow from settings, as `flow` passes them."""
    target = TargetSettings(**settings)
    return {
        "method": target.method,
        "form": request_form(target, flow="orders"),
        "headers": static_headers(target, flow="orders"),
        "proxy": target.http_proxy,
        "tls": target.tls_files,
    }


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_a_request_has_the_method_and_the_path_of_the_settings(client: type[HttpTarget], method: str) -> None:
    async with recording() as (port, requests):
        url = f"http://127.0.0.1:{port}/\u00e4/{{flow}}/{{subject}}?t={{type}}"
        headers = {"X-Of": "{flow}/{subject}", "X-Fixed": '{"a": 1}', "X-Flow": "{flow}", "X-Brace": "{{id}"}
        changes = of_settings(url=url, method=method, headers=headers)
        async with target_at(client, url, **changes) as target:
            assert await result_of(target, envelope(subject="a/b \u20ac", type="x&y")) == Succeeded(status=200)
            assert await result_of(target, envelope(subject="2")) == Succeeded(status=200)
    heads = [request.partition(b"\r\n\r\n")[0].decode().split("\r\n") for request in requests]
    assert heads[0][0] == f"{method} /%C3%A4/orders/a%2Fb%20%E2%82%AC?t=x%26y HTTP/1.1"
    assert heads[1][0] == f"{method} /%C3%A4/orders/2?t=t HTTP/1.1"
    assert {"X-Of: orders/a/b%20%E2%82%AC", 'X-Fixed: {"a": 1}', "X-Flow: orders", "X-Brace: {id}"} <= set(heads[0])
    assert requests[0].endswith(b"{}")


@pytest.mark.parametrize("via", ["direct", "proxy"])
async def test_both_clients_send_the_same_bytes_on_each_way(via: str) -> None:
    sent = envelope(id="e-1", subject="a b")
    sides = []
    async with forward_proxy() as proxy:
        for client in CLIENTS:
            async with recording() as (port, requests):
                url = f"http://127.0.0.1:{port}/{{subject}}?q=1"
                changes = of_settings(
                    url=url, method="PUT", headers={"X-Of": "{subject}"}, proxy=proxy.url if via == "proxy" else None
                )
                async with target_at(client, url, **changes) as target:
                    assert await result_of(target, sent) == Succeeded(status=200)
            sides.append(requests[0].replace(b":%d" % port, b":0"))
    assert sides[0] == sides[1]


async def test_an_event_without_the_attribute_of_the_url_is_not_sent(client: type[HttpTarget]) -> None:
    async with recording() as (port, requests):
        url = f"http://127.0.0.1:{port}/{{subject}}"
        async with target_at(client, url, **of_settings(url=url, headers={"X-Of": "{subject}"})) as target:
            result = await result_of(target, envelope())
            assert isinstance(result, Unsendable)
            assert "{subject}" in result.text
            result = await result_of(target, envelope(subject=".."))
            assert isinstance(result, Unsendable)
        async with target_at(
            client, url, **of_settings(url=url.replace("{subject}", "x"), headers={"X-Of": "{subject}"})
        ):
            pass
    assert requests == []


async def test_a_header_is_left_out_if_the_event_lacks_its_attribute(client: type[HttpTarget]) -> None:
    async with recording() as (port, requests):
        url = f"http://127.0.0.1:{port}/"
        async with target_at(client, url, **of_settings(url=url, headers={"X-Of": "{type}/{subject}"})) as target:
            assert await result_of(target, envelope()) == Succeeded(status=200)
    assert b"X-Of" not in requests[0]


@pytest.mark.parametrize("value", ["a\r\nX-Injected: 1", "a\x00b", "\u2028", 'x"%'])
async def test_no_value_can_begin_a_header(client: type[HttpTarget], value: str) -> None:
    """Senders cannot send control characters in attributes, but the guard does not depend on that."""
    async with recording() as (port, requests):
        url = f"http://127.0.0.1:{port}/{{source}}"
        async with target_at(client, url, **of_settings(url=url, headers={"X-Of": "{source}"})) as target:
            await result_of(target, envelope(source=value))
    for request in requests:
        assert b"\r\nX-Injected" not in request


async def test_a_secret_in_the_fixed_part_of_a_template_is_hidden_in_answers(client: type[HttpTarget]) -> None:
    body = b"no /hooks/t0ps3cretT0ken0123/7, no K-0123456789abcdef7"
    answer = b"HTTP/1.1 404 No\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    async with recording(answer) as (port, _):
        url = f"http://127.0.0.1:{port}/hooks/t0ps3cretT0ken0123/{{subject}}"
        changes = of_settings(url=url, headers={"X-Key": "K-0123456789abcdef{subject}"})
        async with target_at(client, url, **changes) as target:
            result = await result_of(target, envelope(subject="7"))
    assert isinstance(result, Failed)
    assert result.text == "no ***7, no ***7"


@pytest.mark.parametrize("asks_password", [False, True])
async def test_plain_requests_reach_the_target_through_a_proxy(client: type[HttpTarget], asks_password: bool) -> None:
    async with forward_proxy(asks_password=asks_password) as proxy, recording() as (port, requests):
        url = f"http://127.0.0.1:{port}/hook?q=1"
        with_user = proxy.url.replace("//", f"//{USER}:{PASSWORD.replace(':', '%3A').replace('/', '%2F')}@")
        changes = of_settings(proxy=with_user if asks_password else proxy.url)
        async with target_at(client, url, **changes) as target:
            for _ in range(2):
                assert await result_of(target) == Succeeded(status=200)
        assert proxy.heads[0].startswith(f"POST {url} HTTP/1.1\r\n")
        assert len(requests) == 2
        assert all(b"Proxy-" not in request for request in requests)


async def test_a_proxy_that_refuses_the_password_answers_for_a_plain_target(client: type[HttpTarget]) -> None:
    async with forward_proxy(asks_password=True) as proxy:
        result, _ = await attempt_at(client, "http://target.invalid/", **of_settings(proxy=proxy.url))
    assert result == Failed(reason="client_error", status=407)


async def test_tls_goes_through_a_tunnel(client: type[HttpTarget], authority: Authority) -> None:
    async with (
        forward_proxy(asks_password=True) as proxy,
        recording(tls=authority.server_of("DNS:localhost")) as (port, requests),
    ):
        url = f"https://localhost:{port}/hook"
        changes = of_settings(ca_file=str(authority.certificate)) | {
            "proxy": replace(parse_proxy_url(proxy.url), user=USER, password=PASSWORD)
        }
        async with target_at(client, url, **changes) as target:
            for _ in range(3):
                assert await result_of(target) == Succeeded(status=200)
        assert [head.split("\r\n")[0] for head in proxy.heads] == [f"CONNECT localhost:{port} HTTP/1.1"], "it is kept"
        assert requests[0].startswith(b"POST /hook HTTP/1.1\r\n")
        assert all(b"Proxy-" not in request for request in requests)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"HTTP/1.1 407 pr0xy:s3cret/\r\nContent-Length: 0\r\n\r\n", "HTTP 407"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nbad", "HTTP 502"),
        (b"SSH-2.0-x\r\n\r\n", "its answer is not HTTP"),
        (b"", "it closed the connection"),
    ],
)
async def test_a_tunnel_that_is_not_opened_is_no_request(client: type[HttpTarget], answer: bytes, text: str) -> None:
    async with forward_proxy(answer=answer) as proxy:
        result, charged = await attempt_at(client, "https://target.invalid/", **of_settings(proxy=proxy.url))
        assert (result, charged) == (UNREACHED, 0)
        assert isinstance(result, Failed)
        assert result.text == f"127.0.0.1:{proxy.port}: {text}"


@pytest.mark.parametrize("url", ["https://target.invalid/", "http://target.invalid/"])
async def test_a_proxy_that_is_away_is_named(client: type[HttpTarget], url: str) -> None:
    port = free_port()
    result, charged = await attempt_at(client, url, **of_settings(proxy=f"http://{USER}:x@127.0.0.1:{port}"))
    assert (result, charged) == (replace(UNREACHED, detail="proxy_unreachable"), 0)
    assert isinstance(result, Failed)
    assert result.text == f"127.0.0.1:{port}: Connection refused" or f"127.0.0.1:{port}" in (result.text or "")


async def test_a_proxy_without_an_answer_meets_the_deadline(client: type[HttpTarget]) -> None:
    async with forward_proxy() as proxy:
        proxy.is_silent = True
        result, _ = await attempt_at(client, "https://target.invalid/", timeout_s=0.3, **of_settings(proxy=proxy.url))
    assert result == Failed(reason="timeout", detail="connect_timeout", reached=False, answered=False)


async def test_no_proxy_is_taken_from_the_environment(
    client: type[HttpTarget], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    async with recording() as (port, _):
        assert await attempt_at(client, f"http://127.0.0.1:{port}/") == (Succeeded(status=200), 0)


def mutual(authority: Authority, *names: str) -> ssl.SSLContext:
    """Return the TLS of a server that asks for a certificate of the same CA."""
    context = authority.server_of(*names)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.certificate)
    return context


async def test_a_target_gets_the_certificate_that_it_asks_for(client: type[HttpTarget], authority: Authority) -> None:
    own = str(authority.issue("DNS:client.test"))
    async with recording(tls=mutual(authority, "DNS:localhost")) as (port, requests):
        url, ca = f"https://localhost:{port}/", str(authority.certificate)
        unknown, _ = await attempt_at(client, url)
        without, _ = await attempt_at(client, url, **of_settings(ca_file=ca))
        with_one, _ = await attempt_at(client, url, **of_settings(ca_file=ca, client_certificate_file=own))
    assert isinstance(unknown, Failed)
    assert unknown.detail == "certificate_unknown_ca"
    assert isinstance(without, Failed)
    assert without.detail in {"tls_failed", "reset", "closed"}  # TLS 1.3: the refusal comes after the handshake
    assert with_one == Succeeded(status=200)
    assert len(requests) == 1


async def test_a_renewed_certificate_is_used_without_a_restart(tmp_path: Path, authority: Authority) -> None:
    now_s = 0.0
    own = tmp_path / "own.pem"
    own.write_text(authority.issue("DNS:a.test").read_text())
    tls = ClientTls(TlsFiles(certificate_file=str(own)), clock=lambda: now_s)
    first = tls.context
    own.write_text("half a fi")
    assert tls.context is first, "it is not looked at yet"
    now_s += LOOK_AGAIN_S
    assert tls.context is first, "an unusable one is not used"
    own.write_text(authority.issue("DNS:b.test").read_text())
    now_s += LOOK_AGAIN_S
    assert tls.context is not first
    second = tls.context
    now_s += LOOK_AGAIN_S
    assert tls.context is second


def test_an_unusable_file_is_named(tmp_path: Path) -> None:
    certificate = Certificate.make(tmp_path, name="a.test")
    other = Certificate.make(tmp_path, name="b.test")
    locked = Certificate.make(tmp_path, name="c.test", passphrase="secret")
    (tmp_path / "empty").write_text("")
    cases = {
        "ca_file = /nowhere: No such file": TlsFiles(ca_file="/nowhere"),
        f"ca_file = {tmp_path}/empty: ": TlsFiles(ca_file=f"{tmp_path}/empty"),
        "client_certificate_file = /nowhere: No such": TlsFiles(certificate_file="/nowhere"),
        f"client_certificate_file = {certificate.certfile}: ": TlsFiles(certificate_file=str(certificate.certfile)),
        "key values mismatch": TlsFiles(certificate_file=str(certificate.certfile), key_file=str(other.keyfile)),
        "without a passphrase": TlsFiles(certificate_file=str(locked.certfile), key_file=str(locked.keyfile)),
    }
    for expected, files in cases.items():
        with pytest.raises(UnusableCertificateError) as raised:
            ClientTls(files)
        assert expected in str(raised.value)
