"""Targets, and the endpoints for their tokens, as `eventflow check` finds them."""

import asyncio
import os
import socket
import ssl
from pathlib import Path

import pytest

from eventflow.cli.check.finding import Verdict
from eventflow.cli.check.settings import as_processor
from eventflow.cli.check.target import check_targets, reason_of
from eventflow.settings.load import load
from eventflow.settings.roles import Role
from sandbox.ports import free_port
from tests.support.certificates import Authority
from tests.support.forward_proxy import forward_proxy
from tests.support.raw_target import serving


def test_why_a_target_is_not_reached_is_one_line() -> None:
    assert reason_of(ConnectionRefusedError(111, "Connect call failed ('::1', 9)")) == os.strerror(111)
    assert reason_of(socket.gaierror(-2, "Name or service not known")) == "Name or service not known"
    assert reason_of(OSError("Multiple exceptions")) == "Multiple exceptions"
    untrusted = ssl.SSLCertVerificationError(1, "x")
    untrusted.verify_message = "self-signed certificate"
    assert "self-signed" in reason_of(untrusted)


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    assert b"HTTP/" not in await reader.read(), "no request is sent"


async def checked(**settings: str) -> list[tuple[str, Verdict, str, str]]:
    environ = {f"EVENTFLOW_TARGET__{name}": value for name, value in settings.items()}
    operator = load(None, Role.OPERATOR, environ)
    found = await check_targets(as_processor(operator, None, environ), ["default"], 3)
    return [(each.subject, each.verdict, each.found, each.advice) for each in found]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def test_a_target_with_attributes_in_its_path_is_reached() -> None:
    async with serving(silent) as port:
        ((subject, verdict, found, _),) = await checked(URL=f"http://127.0.0.1:{port}/s3cret/{{subject}}?k={{id}}")
    assert (subject, verdict) == (f"target of default: http://127.0.0.1:{port}", Verdict.OK)
    assert found.startswith("reachable")


async def test_target_and_token_endpoint_are_reached_through_the_proxy(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with serving(silent, tls=authority.server_of("DNS:localhost")) as port, forward_proxy() as proxy:
        found = await checked(
            URL=f"https://localhost:{port}/",
            PROXY=proxy.url,
            CA_FILE=str(authority.certificate),
            OAUTH2_TOKEN_URL=f"https://localhost:{port}/token",
            OAUTH2_CLIENT_ID="event-flow",
            OAUTH2_CLIENT_SECRET="a client secret",
        )
        assert [head.split(" HTTP")[0] for head in proxy.heads] == [f"CONNECT localhost:{port}"] * 2
    through = f"reachable through the proxy 127.0.0.1:{proxy.port} (connected; no request was sent)"
    assert found == [
        (f"target of default: https://localhost:{port}", Verdict.OK, through, ""),
        (f"token endpoint of default: https://localhost:{port}", Verdict.OK, through, ""),
    ]


async def test_a_proxy_that_is_away_or_refuses_is_the_problem() -> None:
    port = free_port()
    ((_, verdict, found, advice),) = await checked(
        URL="http://target.invalid/", PROXY=f"http://u:s3cret@127.0.0.1:{port}"
    )
    assert verdict is Verdict.PROBLEM
    assert found.startswith("proxy_unreachable: there is no connection to the proxy (127.0.0.1:")
    assert advice == "start the proxy, or correct EVENTFLOW_TARGET__PROXY"
    async with forward_proxy(asks_password=True) as proxy:
        ((_, verdict, found, advice),) = await checked(URL="https://target.invalid/", PROXY=proxy.url)
    assert verdict is Verdict.PROBLEM
    assert found.startswith("proxy_refused: ")
    assert found.endswith("HTTP 407)")
    assert "EVENTFLOW_TARGET__PROXY" in advice


async def test_a_private_ca_has_to_be_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with serving(silent, tls=authority.server_of("DNS:localhost")) as port:
        ((_, verdict, found, advice),) = await checked(URL=f"https://localhost:{port}/")
        assert verdict is Verdict.PROBLEM
        assert found.startswith("certificate_unknown_ca: ")
        assert advice.endswith("name its CA in EVENTFLOW_TARGET__CA_FILE")
        ((_, verdict, _, _),) = await checked(URL=f"https://localhost:{port}/", CA_FILE=str(authority.certificate))
        assert verdict is Verdict.OK


async def test_a_file_that_cannot_be_used_is_named() -> None:
    ((_, verdict, found, advice),) = await checked(
        URL="https://target.invalid/", CLIENT_CERTIFICATE_FILE="/nowhere.pem"
    )
    assert verdict is Verdict.PROBLEM
    assert found == "client_certificate_file = /nowhere.pem: No such file or directory"
    assert advice == "correct EVENTFLOW_TARGET__CLIENT_CERTIFICATE_FILE, or its file"


async def test_a_missing_target_is_a_problem() -> None:
    assert await checked() == [
        (
            "target of default",
            Verdict.PROBLEM,
            "not set",
            "set EVENTFLOW_TARGET__URL: http://host/path, or EVENTFLOW_HANDLER__CALL",
        )
    ]
