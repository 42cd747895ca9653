"""`eventflow check`: everything that would keep events from flowing, with advice."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from eventflow.cli.check.broker import check_brokers, check_queues, check_rights
from eventflow.cli.check.finding import Finding, Verdict
from eventflow.cli.check.policies import check_policies
from eventflow.cli.check.settings import check_settings
from eventflow.cli.check.target import check_targets
from eventflow.cli.console import out, table
from eventflow.cli.options import ConfigOption, config_of, environ_of, settings_of
from eventflow.settings.root import Settings

STYLES = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.UNKNOWN: "yellow", Verdict.PROBLEM: "bold red"}


def check(
    context: typer.Context,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait for a target.")] = 5.0,
    apply_policy: Annotated[
        bool,
        typer.Option(
            "--apply-policy",
            help="First set the policies that keep other policies from deleting events. "
            "The broker user needs the tag policymaker.",
        ),
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Check settings, broker, queues, policies and targets. Declares no queue and sends no event.

    Exit status 0: nothing keeps events from flowing. Exit status 1: there is a problem.
    """
    settings = settings_of(context, config)
    findings = check_settings(settings, config_of(context, config), environ_of(context, config))
    findings += asyncio.run(_findings(settings, timeout_s, apply_policy=apply_policy))
    out.print(table_of(findings))
    if any(finding.verdict is Verdict.PROBLEM for finding in findings):
        raise typer.Exit(1)


async def _findings(settings: Settings, timeout_s: float, *, apply_policy: bool) -> list[Finding]:
    findings = await check_brokers(settings.broker.urls)
    if any(finding.verdict is not Verdict.PROBLEM for finding in findings):
        findings += [finding async for finding in check_queues(settings)]
        findings.append(await check_rights(settings))
    findings += await check_policies(settings, apply_policy=apply_policy)
    findings += await check_targets(settings, timeout_s)
    return findings


def table_of(findings: Sequence[Finding]) -> Table:
    """Return the findings as a table."""
    shown = table("", "checked", "found", "advice")
    for finding in findings:
        verdict = Text(finding.verdict, style=STYLES[finding.verdict])
        shown.add_row(verdict, finding.subject, finding.found, finding.advice)
    return shown
