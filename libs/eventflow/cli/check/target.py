"""Check that each target, and the endpoint for its tokens, can be connected to, as a processor connects to them.

No request is sent to them. If there is a proxy, it is asked for a tunnel to those that speak TLS.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from yarl import URL

from eventflow.cli.check.finding import Finding, Verdict
from eventflow.network.certificates import UnusableCertificateError
from eventflow.network.client_tls import context_for_tokens, context_of
from eventflow.network.dial import unreachable
from eventflow.network.failure import (
    CONNECT_TIMEOUT,
    MEANINGS,
    NOT_RESOLVED,
    PLAIN_ON_TLS_PORT,
    PROXY_REFUSED,
    PROXY_UNREACHABLE,
    TLS_ON_PLAIN_PORT,
    ProxyError,
    detail_of,
)
from eventflow.network.http_proxy import Proxy, Via, way_to
from eventflow.network.probe import reach, speaks_tls
from eventflow.network.resolver import AddressInfo, Resolver
from eventflow.network.tls_files import TlsFiles
from eventflow.settings.root import Settings, variable_name

_RENEW = "renew the certificate, or correct the clock of this machine or of the target"
_ADVICE = {
    NOT_RESOLVED: "correct the name in {variable}, or repair the name resolution of this machine",
    PLAIN_ON_TLS_PORT: "write https:// in {variable}",
    TLS_ON_PLAIN_PORT: "write http:// in {variable}, or correct its port",
    "certificate_other_name": "write a name of the certificate in {variable}, or renew the certificate",
    "certificate_unknown_ca": "configure it to send all intermediate certificates, or name its CA in {ca_file}",
    PROXY_UNREACHABLE: "start the proxy, or correct {proxy}",
    PROXY_REFUSED: "allow this destination in the proxy, or correct user and password in {proxy}",
}
_TLS_TEST_MAX_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Endpoint:
    """A server that a processor connects to.

    Attributes:
        subject: Its name in the finding.
        flow: The flow that needs it.
        setting: The setting of its URL.
        url: Its URL, which is not shown: its path may be a secret.
        make_context: Makes the context for TLS from `files`.
    """

    subject: str
    flow: str
    setting: str
    url: str
    files: TlsFiles
    make_context: Callable[[TlsFiles], ssl.SSLContext]
    proxy: Proxy | None

    def variable(self, setting: str) -> str:
        """Return the variable of another setting of its flow."""
        return variable_name(self.flow, "target", setting)

    def problem(self, found: str, advice: str, *, place: str = "") -> Finding:
        """Return the finding that something is wrong with it."""
        return Finding(subject=f"{self.subject}{place}", verdict=Verdict.PROBLEM, found=found, advice=advice)


async def check_targets(settings: Settings, flows: Sequence[str], timeout_s: float) -> list[Finding]:
    """Connect to the target of each flow, and to its token endpoint if it has one.

    Args:
        settings: As a processor has them: the proxy is a secret.
        flows: The flows.
        timeout_s: Time for each connection.
    """
    configured = settings.all_flows
    missing = [
        _not_set(flow)
        for flow in flows
        if configured[flow].target.url is None and configured[flow].handler.call is None
    ]
    endpoints = [endpoint for flow in flows for endpoint in _endpoints_of(settings, flow)]
    return [*missing, *await asyncio.gather(*(_check(endpoint, timeout_s) for endpoint in endpoints))]


def _not_set(flow: str) -> Finding:
    handler = variable_name(flow, "handler", "call")
    advice = f"set {variable_name(flow, 'target', 'url')}: http://host/path, or {handler}"
    return Finding(subject=f"target of {flow}", verdict=Verdict.PROBLEM, found="not set", advice=advice)


def _endpoints_of(settings: Settings, flow: str) -> Iterator[_Endpoint]:
    target = settings.all_flows[flow].target
    for subject, setting, url, make_context in (
        (f"target of {flow}", "url", target.url, context_of),
        (f"token endpoint of {flow}", "oauth2_token_url", target.oauth2_token_url, context_for_tokens),
    ):
        if url is not None:
            yield _Endpoint(
                subject=subject,
                flow=flow,
                setting=setting,
                url=url,
                files=target.tls_files,
                make_context=make_context,
                proxy=target.http_proxy,
            )


async def _check(endpoint: _Endpoint, timeout_s: float) -> Finding:
    variable = endpoint.variable(endpoint.setting)
    try:
        url = URL(endpoint.url)
        place = f": {url.scheme}://{url.host}:{url.port}"
    except ValueError:
        return endpoint.problem("its URL is not valid", f"correct {variable}: http://host/path")
    via = way_to(url, endpoint.proxy)
    try:
        tls = endpoint.make_context(endpoint.files) if url.scheme == "https" else None
        await _reach_as_a_processor(url, tls, via, timeout_s=timeout_s)
    except UnusableCertificateError as error:
        setting = str(error).partition(" = ")[0]
        return endpoint.problem(str(error), f"correct {endpoint.variable(setting)}, or its file", place=place)
    except _UnreachedError as error:
        return endpoint.problem(str(error), _advice(error.detail, endpoint), place=place)
    return Finding(subject=f"{endpoint.subject}{place}", verdict=Verdict.OK, found=_words_for_success(via))


def _words_for_success(via: Via | None) -> str:
    if via is None:
        return "reachable (connected; no request was sent)"
    if via.reads_requests:
        return f"its proxy {via.proxy.place} is reachable (connected; no request was sent)"
    return f"reachable through the proxy {via.proxy.place} (connected; no request was sent)"


class _UnreachedError(Exception):
    """A target cannot be reached. `detail` is a key of `network.failure.MEANINGS`; the text is one line for people."""

    def __init__(self, detail: str, words: str = "") -> None:
        super().__init__(f"{detail}: {MEANINGS[detail]}" + (f" ({words})" if words else ""))
        self.detail = detail


async def _reach_as_a_processor(url: URL, tls: ssl.SSLContext | None, via: Via | None, *, timeout_s: float) -> None:
    host, port = url.raw_host or "", url.port or 0
    addresses: Sequence[AddressInfo] = ()
    try:
        async with asyncio.timeout(timeout_s):
            addresses = await _addresses_of(host, port, via)
            await reach(addresses, server_name=host, tls=tls, via=via)
    except TimeoutError as error:
        raise _UnreachedError(CONNECT_TIMEOUT if addresses else NOT_RESOLVED, f"{timeout_s:g} s") from error
    except UnicodeError as error:
        raise _UnreachedError(NOT_RESOLVED, "it is not a name that DNS can resolve") from error
    except OSError as error:
        raise _UnreachedError(detail_of(error), reason_of(error)) from error
    if tls is None and via is None and await speaks_tls(addresses, within_s=min(_TLS_TEST_MAX_S, timeout_s)):
        raise _UnreachedError(PLAIN_ON_TLS_PORT)


async def _addresses_of(host: str, port: int, via: Via | None) -> Sequence[AddressInfo]:
    if via is None:
        return await Resolver().addresses_of(host, port)
    try:
        return await Resolver().addresses_of(via.proxy.host, via.proxy.port)
    except socket.gaierror as error:
        raise unreachable(via, error) from None


def reason_of(error: OSError) -> str:
    """Return the system's reason for a failed connection."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ProxyError):
        return str(error)
    if isinstance(error, ssl.SSLError | socket.gaierror) or not error.errno:
        return error.strerror or str(error) or type(error).__name__
    return os.strerror(error.errno)  # the text of asyncio's own error has no reason


def _advice(detail: str, endpoint: _Endpoint) -> str:
    variable = endpoint.variable(endpoint.setting)
    if detail in _ADVICE:
        return _ADVICE[detail].format(
            variable=variable, proxy=endpoint.variable("proxy"), ca_file=endpoint.variable("ca_file")
        )
    return _RENEW if detail.startswith("certificate_") else f"start it, or correct {variable}"
