"""`eventflow check`: what would keep events from flowing, and what to do about it."""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text
from yarl import URL

from eventflow.amqp.connection import server_version, shown_url
from eventflow.amqp.proofs import missing_rights
from eventflow.amqp.queues import declare_queues, depth_of
from eventflow.cli.console import out, table
from eventflow.cli.findings import STYLES, Finding, Verdict
from eventflow.cli.options import ConfigOption, config_of, settings_of
from eventflow.cli.policies import check_policies
from eventflow.cli.retries import leftovers
from eventflow.cli.session import Link, connected, instance
from eventflow.cli.topology import specs_of
from eventflow.errors import BrokerUnavailableError, SettingsError, TopologyMismatchError
from eventflow.network.broker_tls import VERIFY_ADVICE
from eventflow.network.broker_url import parse_broker_url
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
from eventflow.settings.load import load
from eventflow.settings.roles import Role
from eventflow.settings.root import Settings, variable_name
from eventflow.settings.target import TargetSettings
from eventflow.topology import QueueSpec, permissions_command, retry_queue

_RENEW = "renew the certificate, or correct the clock of either machine"
_ADVICE = {
    NOT_RESOLVED: "correct the name in {variable}, or mend the name servers of this machine",
    PLAIN_ON_TLS_PORT: "write https:// in {variable}",
    TLS_ON_PLAIN_PORT: "write http:// in {variable}, or correct its port",
    "certificate_other_name": "write a name of the certificate in {variable}, or renew the certificate",
    "certificate_unknown_ca": "let the target send all intermediate certificates, or add its CA to this machine's",
}

DECLARE_ADVICE = "start the services, or run `eventflow topology`"


def command(
    context: typer.Context,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait for a target.")] = 5.0,
    apply_policy: Annotated[
        bool,
        typer.Option(
            "--apply-policy",
            help="First set the policies that keep other policies from deleting events; takes the tag policymaker.",
        ),
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Check settings, broker, queues, policies and targets. Declares no queue and sends no event.

    Exit status 0: nothing keeps events from flowing; 1: a problem was found.
    """
    settings = settings_of(context, config)
    findings = check_settings(settings, config_of(context, config))
    findings += asyncio.run(_findings(settings, timeout_s, apply_policy=apply_policy))
    shown = table("", "what", "found", "what to do")
    for finding in findings:
        verdict = Text(finding.verdict, style=STYLES[finding.verdict])
        shown.add_row(verdict, finding.subject, finding.found, finding.advice)
    out.print(shown)
    if any(finding.verdict is Verdict.PROBLEM for finding in findings):
        raise typer.Exit(1)


async def _findings(settings: Settings, timeout_s: float, *, apply_policy: bool) -> list[Finding]:
    findings = [await _check_broker(url) for url in settings.broker.urls]
    if any(finding.verdict is not Verdict.PROBLEM for finding in findings):
        findings += [finding async for finding in _check_queues(settings)]
        findings.append(await _check_rights(settings))
    findings += await check_policies(settings, apply_policy=apply_policy)
    findings += [await _check_target(name, flow.target, timeout_s) for name, flow in settings.all_flows.items()]
    return findings


def check_settings(settings: Settings, config: Path | None) -> list[Finding]:
    """Check what each service would say at its start to the settings of this command.

    An operator has not every secret of the services, so what is missing here may be there: that is no problem.
    """
    found = f"flows: {', '.join(settings.all_flows)}"
    findings = []
    advice = ""
    for role in (Role.COLLECTOR, Role.PROCESSOR):
        try:
            of_role = load(config, role)
        except SettingsError as error:
            findings.append(
                Finding(
                    subject=f"settings of the {role}",
                    verdict=Verdict.WARNING,
                    found=str(error),
                    advice=f"correct them, unless the {role} has others",
                )
            )
        else:
            advice = _missing_keys(of_role) if role is Role.COLLECTOR else advice
    return [Finding(subject="settings", verdict=Verdict.OK, found=found, advice=advice), *findings]


def _missing_keys(collector: Settings) -> str:
    """Return advice on flows without keys: the settings of an operator often have none."""
    for name, flow in collector.all_flows.items():
        if flow.source.lacks_authentication:
            keys, verify, allow = (
                variable_name(name, "source", f) for f in ("api_keys", "verify", "allow_unauthenticated")
            )
            return f"for the collector, set {keys} or {verify}, or {allow}=true: flow {name} has none of them here"
    return ""


async def _check_broker(url: str) -> Finding:
    subject = f"broker {shown_url(url)}"
    tls = parse_broker_url(url).tls
    try:
        async with connected([url]) as link:
            found = f"RabbitMQ {server_version(link.connection)}"
    except BrokerUnavailableError as error:
        advice = "start it, or correct EVENTFLOW_BROKER__URL (user, password, virtual host)"
        return Finding(subject=subject, verdict=Verdict.PROBLEM, found=str(error), advice=advice)
    if tls is not None and not tls.verify:
        found = f"{found}; its certificate is not verified"
        return Finding(subject=subject, verdict=Verdict.WARNING, found=found, advice=VERIFY_ADVICE)
    return Finding(subject=subject, verdict=Verdict.OK, found=found)


async def _check_queues(settings: Settings) -> AsyncIterator[Finding]:
    try:
        async with connected(settings.broker.urls) as link:
            for spec in specs_of(settings):
                yield await _check_queue(link, spec)
            for finding in await _check_leftovers(link, settings):
                yield finding
    except BrokerUnavailableError as error:
        yield Finding(subject="queues", verdict=Verdict.PROBLEM, found=str(error), advice="see the broker's log")


async def _check_rights(settings: Settings) -> Finding:
    """Try what the services need, as the user that this command has."""
    subject = "rights"
    try:
        async with connected(settings.broker.urls) as link:
            user = parse_broker_url(link.url)
            subject = f"rights of user {user.username}"
            missing = await missing_rights(link.connection, list(settings.all_flows), instance=instance())
    except BrokerUnavailableError as error:
        return Finding(subject=subject, verdict=Verdict.PROBLEM, found=str(error), advice="see the broker's log")
    if missing:
        advice = f"{permissions_command(user.username, vhost=user.vhost)}; a collector needs write on amq.default only"
        return Finding(subject=subject, verdict=Verdict.PROBLEM, found="; ".join(missing), advice=advice)
    return Finding(subject=subject, verdict=Verdict.OK, found="all that the services need")


async def _check_queue(link: Link, spec: QueueSpec) -> Finding:
    subject = f"queue {spec.name}"
    depth = await depth_of(link.connection, spec.name)
    if depth is None:
        return Finding(subject=subject, verdict=Verdict.WARNING, found="not declared yet", advice=DECLARE_ADVICE)
    try:
        # Only now that it exists: declaring verifies the arguments, which looking up does not, and would create it.
        unverified = await declare_queues(link.connection, [spec])
    except TopologyMismatchError as error:
        advice = "drain and delete it, then " + DECLARE_ADVICE
        return Finding(subject=subject, verdict=Verdict.PROBLEM, found=str(error), advice=advice)
    if unverified:
        found, advice = "exists; its arguments could not be verified", "check as a user who may configure it"
        return Finding(subject=subject, verdict=Verdict.WARNING, found=found, advice=advice)
    return Finding(subject=subject, verdict=Verdict.OK, found=f"{depth.messages} ready, {depth.consumers} consumers")


async def _check_leftovers(link: Link, settings: Settings) -> list[Finding]:
    old = await leftovers(link, settings)
    findings = []
    for flow, delays_s in old.delays_s.items():
        for delay_s in delays_s:
            queue = retry_queue(flow, delay_s)
            depth = await depth_of(link.connection, queue)
            findings.append(leftover(queue, depth.messages if depth else 0))
    scope = "all queues were listed" if old.complete else "only the default delays were looked for: no management API"
    return findings or [Finding(subject="leftover retry queues", verdict=Verdict.OK, found=f"none; {scope}")]


def leftover(queue: str, events: int) -> Finding:
    """Judge a retry queue that no setting names: it still drains, and is of no use once it is empty."""
    advice = "wait: they still come back in time" if events else "delete it"
    found = f"left over from other RETRY_DELAYS_S, {events} ready"
    return Finding(subject=f"queue {queue}", verdict=Verdict.WARNING, found=found, advice=advice)


async def _check_target(flow: str, target: TargetSettings, timeout_s: float) -> Finding:
    variable = variable_name(flow, "target", "url")
    if target.url is None:
        return Finding(
            subject=f"target of {flow}",
            verdict=Verdict.PROBLEM,
            found="not set",
            advice=f"set {variable}: http://host/path",
        )
    try:
        url = URL(target.url)
        host, port = url.raw_host or "", url.port or 0
    except ValueError:
        return Finding(
            subject=f"target of {flow}",
            verdict=Verdict.PROBLEM,
            found="its URL is not valid",
            advice=f"correct {variable}: http://host/path",
        )
    subject = f"target of {flow}: {url.scheme}://{url.host}:{port}"  # its path may be a secret
    try:
        await _reach_as_a_processor(host, port, is_tls=url.scheme == "https", timeout_s=timeout_s)
    except _UnreachedError as error:
        advice = _advice(error.detail, variable)
        return Finding(subject=subject, verdict=Verdict.PROBLEM, found=str(error), advice=advice)
    return Finding(subject=subject, verdict=Verdict.OK, found="reachable (connected; no request was sent)")


class _UnreachedError(Exception):
    """A target cannot be reached; `detail` is a word of `network.failure.MEANINGS`, the text one line for people."""

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
        raise _UnreachedError(NOT_RESOLVED, "no name server can be asked for it") from error
    except OSError as error:
        raise _UnreachedError(detail_of(error), reason_of(error)) from error
    if not is_tls and await speaks_tls(addresses, within_s=min(1.0, timeout_s)):
        raise _UnreachedError(PLAIN_ON_TLS_PORT)


def reason_of(error: OSError) -> str:
    """Return the system's words for why a connection failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError | socket.gaierror) or not error.errno:
        return error.strerror or str(error) or type(error).__name__
    return os.strerror(error.errno)  # asyncio's own text leaves the reason out


def _advice(detail: str, variable: str) -> str:
    if detail in _ADVICE:
        return _ADVICE[detail].format(variable=variable)
    return _RENEW if detail.startswith("certificate_") else f"start it, or correct {variable}"
