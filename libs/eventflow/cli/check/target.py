"""Check that each target can be connected to, as a processor connects to it. No request is sent."""

import asyncio
import os
import socket
import ssl
from collections.abc import Sequence

from yarl import URL

from eventflow.cli.check.finding import Finding, Verdict
from eventflow.network.failure import (
    CONNECT_TIMEOUT,
    MEANINGS,
    NOT_RESOLVED,
    PLAIN_ON_TLS_PORT,
    TLS_ON_PLAIN_PORT,
    detail_of,
)
from eventflow.network.probe import reach, speaks_tls
from eventflow.network.resolver import AddressInfo, Resolver
from eventflow.settings.root import Settings, variable_name

_RENEW = "renew the certificate, or correct the clock of this machine or of the target"
_ADVICE = {
    NOT_RESOLVED: "correct the name in {variable}, or repair the name resolution of this machine",
    PLAIN_ON_TLS_PORT: "write https:// in {variable}",
    TLS_ON_PLAIN_PORT: "write http:// in {variable}, or correct its port",
    "certificate_other_name": "write a name of the certificate in {variable}, or renew the certificate",
    "certificate_unknown_ca": "configure the target to send all intermediate certificates, or add its CA to this "
    "machine",
}
_TLS_TEST_MAX_S = 1.0


async def check_targets(settings: Settings, flows: Sequence[str], timeout_s: float) -> list[Finding]:
    """Connect to the target of each flow."""
    urls = {flow: settings.all_flows[flow].target.url for flow in flows}
    checks = (
        _check_target(f"target of {flow}", variable_name(flow, "target", "url"), url, timeout_s)
        for flow, url in urls.items()
    )
    return await asyncio.gather(*checks)


async def _check_target(subject: str, variable: str, target: str | None, timeout_s: float) -> Finding:
    if target is None:
        advice = f"set {variable}: http://host/path"
        return Finding(subject=subject, verdict=Verdict.PROBLEM, found="not set", advice=advice)
    try:
        url = URL(target)
        host, port = url.raw_host or "", url.port or 0
    except ValueError:
        advice = f"correct {variable}: http://host/path"
        return Finding(subject=subject, verdict=Verdict.PROBLEM, found="its URL is not valid", advice=advice)
    subject = f"{subject}: {url.scheme}://{url.host}:{port}"  # its path may be a secret
    try:
        await _reach_as_a_processor(host, port, is_tls=url.scheme == "https", timeout_s=timeout_s)
    except _UnreachedError as error:
        advice = _advice(error.detail, variable)
        return Finding(subject=subject, verdict=Verdict.PROBLEM, found=str(error), advice=advice)
    return Finding(subject=subject, verdict=Verdict.OK, found="reachable (connected; no request was sent)")


class _UnreachedError(Exception):
    """A target cannot be reached. `detail` is a key of `network.failure.MEANINGS`; the text is one line for people."""

    def __init__(self, detail: str, words: str = "") -> None:
        super().__init__(f"{detail}: {MEANINGS[detail]}" + (f" ({words})" if words else ""))
        self.detail = detail


async def _reach_as_a_processor(host: str, port: int, *, is_tls: bool, timeout_s: float) -> None:
    addresses: Sequence[AddressInfo] = ()
    try:
        async with asyncio.timeout(timeout_s):
            addresses = await Resolver().addresses_of(host, port)
            await reach(addresses, server_name=host, tls=ssl.create_default_context() if is_tls else None)
    except TimeoutError as error:
        raise _UnreachedError(CONNECT_TIMEOUT if addresses else NOT_RESOLVED, f"{timeout_s:g} s") from error
    except UnicodeError as error:
        raise _UnreachedError(NOT_RESOLVED, "it is not a name that DNS can resolve") from error
    except OSError as error:
        raise _UnreachedError(detail_of(error), reason_of(error)) from error
    if not is_tls and await speaks_tls(addresses, within_s=min(_TLS_TEST_MAX_S, timeout_s)):
        raise _UnreachedError(PLAIN_ON_TLS_PORT)


def reason_of(error: OSError) -> str:
    """Return the system's reason for a failed connection."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError | socket.gaierror) or not error.errno:
        return error.strerror or str(error) or type(error).__name__
    return os.strerror(error.errno)  # the text of asyncio's own error has no reason


def _advice(detail: str, variable: str) -> str:
    if detail in _ADVICE:
        return _ADVICE[detail].format(variable=variable)
    return _RENEW if detail.startswith("certificate_") else f"start it, or correct {variable}"
