"""Check that the services are ready and that their flows are not held up, by /readyz on their admin ports."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from typing import Any

import aiohttp

from eventflow.cli.check.finding import Finding, Verdict
from eventflow.cli.console import printable
from eventflow.control.reading import mapping
from eventflow.control.reports import ProcessorReport, TargetReport, read_processor_report
from eventflow.network.host import host_and_port
from eventflow.network.http_body import whole_body
from eventflow.network.listener import reachable_hosts
from eventflow.operations.causes import cause_in_words
from eventflow.settings.root import Settings

TIMEOUT_S = 2.0
ANSWER_MAX_BYTES = 1024 * 1024
"""About 1000 flows."""

READY, NOT_READY = 200, 503


async def check_services(settings: Settings, flows: Sequence[str]) -> list[Finding]:
    """Ask the services at the addresses in the settings of this command, the processor also for `flows`.

    Console and relay are asked only if they have settings: the other services work without them.
    """
    admins = {
        "collector": (settings.collector.admin_host, settings.collector.admin_port),
        "processor": (settings.processor.admin_host, settings.processor.admin_port),
    }
    if "console" in settings.model_fields_set:
        admins["console"] = (settings.console.admin_host, settings.console.admin_port)
    if "relay" in settings.model_fields_set:
        admins["relay"] = (settings.relay.admin_host, settings.relay.admin_port)
    return list(
        chain.from_iterable(
            await asyncio.gather(*(_check_service(service, *admin, flows) for service, admin in admins.items()))
        )
    )


async def _check_service(service: str, host: str, port: int, flows: Sequence[str]) -> list[Finding]:
    subject = f"{service} at {host_and_port(host, port)}"
    for reachable in reachable_hosts(host):
        if (readiness := await _readiness(host_and_port(reachable, port))) is not None:
            return [judged(subject, readiness), *judged_flows(readiness, flows)]
    return [
        Finding(
            subject=subject,
            verdict=Verdict.UNKNOWN,
            found="no service answers there",
            advice=f"start the {service}; if it runs elsewhere, ask /readyz on its admin port there",
        )
    ]


def judged(subject: str, readiness: Mapping[str, Any]) -> Finding:
    """Judge an answer of /readyz."""
    if readiness.get("ready") is True:
        states = [f"{name} {value}" for name, value in readiness.items() if isinstance(value, str)]
        return Finding(subject=subject, verdict=Verdict.OK, found=_line("ready", states))
    return Finding(
        subject=subject,
        verdict=Verdict.PROBLEM,
        found=_line("not ready", _obstacles(readiness)),
        advice="docs/operations.md explains the details; its log has the reason",
    )


def judged_flows(readiness: Mapping[str, Any], flows: Sequence[str]) -> Iterator[Finding]:
    """Judge the flows in an answer of /readyz: a processor stays ready while it waits for a target or an operator."""
    reports = readiness.get("flows")
    if not isinstance(reports, dict):
        return  # of a collector, or of an older version
    for flow in flows:
        try:
            report = read_processor_report(mapping(reports.get(flow, {})))
        except (KeyError, TypeError, ValueError):
            continue  # of another version
        yield from _held_up(flow, report)


def _held_up(flow: str, report: ProcessorReport) -> Iterator[Finding]:
    subject = f"flow {flow}"
    if report.is_paused:
        yield Finding(
            subject=subject,
            verdict=Verdict.WARNING,
            found=printable(f"paused by {report.paused_by or 'an unknown operator'}"),
            advice=f"`eventflow resume {flow}`, if the reason is gone",
        )
    match report.target:
        case None | TargetReport(state="up"):
            return
        case TargetReport(state="blocked") as target:
            found, advice = "the target refuses every event", "renew its credentials, then restart the processors"
        case target:
            found, advice = f"the target is {target.state}", "check the target; deliveries resume by themselves"
    if target.failure is not None:
        found = f"{found}: {cause_in_words(**asdict(target.failure))}"
    yield Finding(subject=subject, verdict=Verdict.PROBLEM, found=printable(found), advice=advice)


def _obstacles(readiness: Mapping[str, Any]) -> list[str]:
    """Return the reasons in words if a service gives them, or else all details that have a value."""
    match readiness.get("obstacles"):
        case [_, *_] as words:
            return list(map(str, words))
    return [
        f"{name} {value if isinstance(value, str) else json.dumps(value)}"
        for name, value in readiness.items()
        if name not in {"ready", "flows"} and value not in (None, False, "", {}, [])
    ]


def _line(state: str, details: Sequence[str]) -> str:
    return printable(f"{state}: {', '.join(details)}" if details else state)


async def _readiness(place: str) -> Mapping[str, Any] | None:
    """Return the answer of a service; None if there is none."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S), trust_env=False) as client,
            client.get(f"http://{place}/readyz") as answer,
        ):
            content = await whole_body(answer, max_bytes=ANSWER_MAX_BYTES)
            found = json.loads(content) if content and answer.status in {READY, NOT_READY} else None
    except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and "ready" in found else None
