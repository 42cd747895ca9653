"""Check that each broker can be used, that its queues are as the services declare them, and the rights of the user."""

import asyncio
from collections.abc import Sequence

from eventflow.amqp.connection import server_version, shown_url
from eventflow.amqp.proofs import missing_rights
from eventflow.amqp.queues import declare_queues, depth_of
from eventflow.cli.check.finding import Finding, Verdict
from eventflow.cli.topology import specs_of
from eventflow.errors import BrokerUnavailableError, TopologyMismatchError
from eventflow.network.broker_tls import VERIFY_ADVICE
from eventflow.network.broker_url import parse_broker_url
from eventflow.operations.retry_queues import leftovers
from eventflow.operations.session import Link, connected, instance
from eventflow.settings.root import Settings
from eventflow.topology import QueueSpec, permissions_command, retry_queue

DECLARE_ADVICE = "start the services, or run `eventflow topology`"
LOG_ADVICE = "see the broker's log"


async def check_brokers(urls: Sequence[str]) -> list[Finding]:
    """Connect to each broker."""
    return await asyncio.gather(*map(_check_broker, urls))


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


async def check_queues(settings: Settings, flows: Sequence[str]) -> list[Finding]:
    """Compare each queue with its specification, and find leftover retry queues."""
    findings: list[Finding] = []
    try:
        async with connected(settings.broker.urls) as link:
            findings += [await _check_queue(link, spec) for spec in specs_of(settings, flows)]
            findings += await _check_leftovers(link, settings, flows)
    except BrokerUnavailableError as error:
        findings.append(Finding(subject="queues", verdict=Verdict.PROBLEM, found=str(error), advice=LOG_ADVICE))
    return findings


async def _check_queue(link: Link, spec: QueueSpec) -> Finding:
    subject = f"queue {spec.name}"
    depth = await depth_of(link.connection, spec.name)
    if depth is None:
        return Finding(subject=subject, verdict=Verdict.WARNING, found="not declared yet", advice=DECLARE_ADVICE)
    try:
        # Only a declaration verifies the arguments. It would create the queue, so it follows the check that found it.
        unverified = await declare_queues(link.connection, [spec])
    except TopologyMismatchError as error:
        advice = f"wait until it is empty, delete it, then {DECLARE_ADVICE}"
        return Finding(subject=subject, verdict=Verdict.PROBLEM, found=str(error), advice=advice)
    if unverified:
        found, advice = "exists; its arguments could not be verified", "check as a user with the configure right"
        return Finding(subject=subject, verdict=Verdict.WARNING, found=found, advice=advice)
    return Finding(subject=subject, verdict=Verdict.OK, found=f"{depth.messages} ready, {depth.consumers} consumers")


async def _check_leftovers(link: Link, settings: Settings, flows: Sequence[str]) -> list[Finding]:
    old = await leftovers(link, settings)
    findings = []
    for flow in flows:
        for delay_s in old.delays_s.get(flow, ()):
            queue = retry_queue(flow, delay_s)
            depth = await depth_of(link.connection, queue)
            findings.append(leftover(queue, depth.messages if depth else 0))
    scope = (
        "all queues were listed"
        if old.complete
        else "only queues of the default delays were searched, because there is no management API"
    )
    return findings or [Finding(subject="leftover retry queues", verdict=Verdict.OK, found=f"none; {scope}")]


def leftover(queue: str, events: int) -> Finding:
    """Judge a retry queue with a delay that no setting has. Its events are still retried; an empty one is useless."""
    advice = "wait: its events come back after their delay" if events else "delete it"
    found = f"left over from an earlier RETRY_DELAYS_S, {events} ready"
    return Finding(subject=f"queue {queue}", verdict=Verdict.WARNING, found=found, advice=advice)


async def check_rights(settings: Settings, flows: Sequence[str]) -> Finding:
    """Try, as the user of this command, each operation that the services need."""
    subject = "rights"
    try:
        async with connected(settings.broker.urls) as link:
            user = parse_broker_url(link.url)
            subject = f"rights of user {user.username}"
            missing = await missing_rights(link.connection, list(flows), instance=instance())
    except BrokerUnavailableError as error:
        return Finding(subject=subject, verdict=Verdict.PROBLEM, found=str(error), advice=LOG_ADVICE)
    if missing:
        advice = (
            f"{permissions_command(user.username, vhost=user.vhost)}; the rights of a collector alone: deploy/README.md"
        )
        return Finding(subject=subject, verdict=Verdict.PROBLEM, found="; ".join(missing), advice=advice)
    return Finding(subject=subject, verdict=Verdict.OK, found="all that the services need")
