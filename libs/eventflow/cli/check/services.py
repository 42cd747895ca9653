"""Check that the services are ready, by /readyz on their admin ports."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import aiohttp

from eventflow.cli.check.finding import Finding, Verdict
from eventflow.cli.console import printable
from eventflow.network.listener import reachable_hosts
from eventflow.settings.root import Settings

TIMEOUT_S = 2.0
ANSWER_MAX_BYTES = 64 * 1024
READY, NOT_READY = 200, 503


async def check_services(settings: Settings) -> list[Finding]:
    """Ask collector and processor at the addresses in the settings of this command."""
    admins = {
        "collector": (settings.collector.admin_host, settings.collector.admin_port),
        "processor": (settings.processor.admin_host, settings.processor.admin_port),
    }
    return await asyncio.gather(*(_check_service(service, *admin) for service, admin in admins.items()))


async def _check_service(service: str, host: str, port: int) -> Finding:
    subject = f"{service} at {f'[{host}]' if ':' in host else host}:{port}"
    for place in reachable_hosts(host):
        if (readiness := await _readiness(f"[{place}]" if ":" in place else place, port)) is not None:
            return judged(subject, readiness)
    return Finding(
        subject=subject,
        verdict=Verdict.UNKNOWN,
        found="no service answers there",
        advice=f"start the {service}; if it runs elsewhere, ask /readyz on its admin port there",
    )


def judged(subject: str, readiness: Mapping[str, Any]) -> Finding:
    """Judge an answer of /readyz."""
    is_ready, *details = readiness.get("ready") is True, *_details(readiness)
    found = printable(f"{'ready' if is_ready else 'not ready'}{': ' if details else ''}{', '.join(details)}")
    if is_ready:
        return Finding(subject=subject, verdict=Verdict.OK, found=found)
    advice = "docs/operations.md explains the details; its log has the reason"
    return Finding(subject=subject, verdict=Verdict.PROBLEM, found=found, advice=advice)


def _details(readiness: Mapping[str, Any]) -> list[str]:
    """Return the details that have a value, as `broker up`; those in objects as JSON."""
    return [
        f"{name} {value if isinstance(value, str) else json.dumps(value)}"
        for name, value in readiness.items()
        if name != "ready" and value not in (None, False, "", {}, [])
    ]


async def _readiness(host: str, port: int) -> Mapping[str, Any] | None:
    """Return the answer of a service; None if there is none."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S), trust_env=False) as client,
            client.get(f"http://{host}:{port}/readyz") as answer,
        ):
            content = await answer.content.read(ANSWER_MAX_BYTES)
            found = json.loads(content) if answer.status in {READY, NOT_READY} else None
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return None
    return found if isinstance(found, dict) and "ready" in found else None
