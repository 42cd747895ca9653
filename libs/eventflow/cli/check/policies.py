"""Check for policies that can delete events, and set our own with `--apply-policy`."""

import asyncio
import json
import time
from collections.abc import Iterator, Sequence

from eventflow.cli.check.finding import Finding, Verdict
from eventflow.cli.console import printable
from eventflow.errors import ManagementError
from eventflow.management.api import Management
from eventflow.management.policies import NOT_SET, Look, look
from eventflow.settings.root import Settings
from eventflow.topology import SHIELDS

EFFECTIVE_WITHIN_S = 12.0
"""RabbitMQ publishes the policies in effect on a queue every 5 s."""

POLL_S = 0.5
APPLY_ADVICE = "eventflow check --apply-policy"
SUBJECT = "policies"


async def check_policies(settings: Settings, flows: Sequence[str], *, apply_policy: bool) -> list[Finding]:
    """Find policies that can delete events, after setting our own if asked to."""
    management = Management.of(settings.broker.management_url, settings.broker.urls[0])
    if management is None:
        verdict = Verdict.PROBLEM if apply_policy else Verdict.UNKNOWN
        return [
            _not_checked(NOT_SET, verdict, advice="set it to the URL of RabbitMQ's management API, http://host:15672")
        ]
    findings = [await _apply(management)] if apply_policy else []
    applied = any(finding.verdict is Verdict.OK for finding in findings)
    try:
        seen = await (_effective(management, flows) if applied else look(management, flows))
    except ManagementError as error:
        advice = "correct EVENTFLOW_BROKER__MANAGEMENT_URL, or the user's rights"
        return [*findings, _not_checked(printable(str(error)), Verdict.UNKNOWN, advice=advice)]
    return [*findings, *judged(seen)]


def judged(seen: Look) -> Iterator[Finding]:
    """Return a finding for each danger, or one that all is well."""
    for danger in seen.dangers:
        advice = "exclude our queues from its pattern" if "operator" in danger.policy else APPLY_ADVICE
        found = f"{danger}: it can delete events"
        yield Finding(subject=SUBJECT, verdict=Verdict.PROBLEM, found=printable(found), advice=advice)
    if seen.unknown:
        found = f"RabbitMQ has not yet published the policies in effect on {_some(seen.unknown)}"
        yield Finding(subject=SUBJECT, verdict=Verdict.UNKNOWN, found=found, advice="check again in a few seconds")
    if seen.unshielded:
        found = f"no policy of Event Flow protects {_some(seen.unshielded)} from policies of others"
        yield Finding(subject=SUBJECT, verdict=Verdict.WARNING, found=found, advice=APPLY_ADVICE)
    if not (seen.dangers or seen.unknown or seen.unshielded):
        yield Finding(subject=SUBJECT, verdict=Verdict.OK, found="no policy in effect can delete events")


def _some(queues: Sequence[str]) -> str:
    return queues[0] if len(queues) == 1 else f"{len(queues)} queues, such as {queues[0]}"


async def _apply(management: Management) -> Finding:
    names = ", ".join(policy.name for policy in SHIELDS)
    try:
        for policy in SHIELDS:
            await management.set_policy(policy)
    except ManagementError as error:
        found = f"{names} could not be set: {printable(str(error))}"
        return Finding(subject=SUBJECT, verdict=Verdict.PROBLEM, found=found, advice=f"run: {commands(management)}")
    return Finding(subject=SUBJECT, verdict=Verdict.OK, found=f"{names} set")


def commands(management: Management) -> str:
    """Return the commands that an administrator can run on a broker node instead of `--apply-policy`."""
    return "; ".join(
        f"rabbitmqctl set_policy -p '{management.vhost}' {policy.name} '{policy.pattern}' "
        f"'{json.dumps(dict(policy.definition))}' --priority {policy.priority} --apply-to {policy.apply_to}"
        for policy in SHIELDS
    )


async def _effective(management: Management, flows: Sequence[str]) -> Look:
    """Check until our policies are in effect on every queue, for at most 12 s."""
    deadline_s = time.monotonic() + EFFECTIVE_WITHIN_S
    while True:
        seen = await look(management, flows)
        if time.monotonic() > deadline_s or not (seen.unshielded or seen.unknown):
            return seen
        await asyncio.sleep(POLL_S)


def _not_checked(reason: str, verdict: Verdict, *, advice: str) -> Finding:
    return Finding(subject=SUBJECT, verdict=verdict, found=f"not checked: {reason}", advice=advice)
