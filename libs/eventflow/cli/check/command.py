"""`eventflow check`: everything that would keep events from flowing, with advice."""

import asyncio
from collections.abc import Sequence
from itertools import chain
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from eventflow.cli.check.broker import check_brokers, check_queues, check_rights
from eventflow.cli.check.finding import Finding, Verdict
from eventflow.cli.check.handler import check_handlers
from eventflow.cli.check.history import check_history
from eventflow.cli.check.policies import check_policies
from eventflow.cli.check.services import check_services
from eventflow.cli.check.settings import as_processor, check_settings
from eventflow.cli.check.target import check_targets
from eventflow.cli.console import out, print_json, table
from eventflow.cli.options import (
    ConfigOption,
    FlowOption,
    JsonOption,
    config_of,
    environ_of,
    flows_of,
    settings_of,
)
from eventflow.settings.root import Settings

STYLES = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.UNKNOWN: "yellow", Verdict.PROBLEM: "bold red"}


def check(
    context: typer.Context,
    flow: FlowOption = None,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait for a target.")] = 5.0,
    apply_policy: Annotated[
        bool,
        typer.Option(
            "--apply-policy",
            help="First set the policies that keep other policies from deleting events. "
            "The broker user needs the tag policymaker.",
        ),
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Check settings, broker, queues, policies, services, targets, handlers and history.

    Declares no queue and sends no event.

    Exit status 0: no problem was found; a pause is a warning. Exit status 1: there is a problem.
    """
    settings = settings_of(context, config)
    flows = flows_of(settings, flow)
    file, environ = config_of(context, config), environ_of(context, config)
    findings = check_settings(settings, file, environ)
    with_secrets = as_processor(settings, file, environ)
    findings += asyncio.run(_findings(settings, with_secrets, flows, timeout_s, apply_policy=apply_policy))
    if as_json:
        print_json({"findings": [document_of(finding) for finding in findings]})
    else:
        out.print(table_of(findings))
    if any(finding.verdict is Verdict.PROBLEM for finding in findings):
        raise typer.Exit(1)


async def _findings(
    settings: Settings, with_secrets: Settings, flows: Sequence[str], timeout_s: float, *, apply_policy: bool
) -> list[Finding]:
    findings = await asyncio.gather(
        _broker_findings(settings, flows, apply_policy=apply_policy),
        check_services(settings, flows),
        check_targets(with_secrets, flows, timeout_s),
        check_handlers(with_secrets, flows),
        check_history(settings.history),
    )
    return list(chain.from_iterable(findings))


async def _broker_findings(settings: Settings, flows: Sequence[str], *, apply_policy: bool) -> list[Finding]:
    findings = await check_brokers(settings.broker.urls)
    if all(finding.verdict is Verdict.PROBLEM for finding in findings):
        return findings  # a broker that is away has no queues, rights or policies to look at
    return [
        *findings,
        *await check_queues(settings, flows),
        await check_rights(settings, flows),
        *await check_policies(settings, flows, apply_policy=apply_policy),
    ]


def document_of(finding: Finding) -> dict[str, str]:
    """Return a finding for `--json`."""
    return {
        "verdict": finding.verdict,
        "checked": finding.subject,
        "found": finding.found,
        "advice": finding.advice,
    }


def table_of(findings: Sequence[Finding]) -> Table:
    """Return the findings as a table."""
    shown = table("", "checked", "found", "advice")
    for finding in findings:
        verdict = Text(finding.verdict, style=STYLES[finding.verdict])
        shown.add_row(verdict, finding.subject, finding.found, finding.advice)
    return shown
