"""The status of all flows as a table, and as a JSON document."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from eventflow.cli.console import table
from eventflow.cli.status.eta import BacklogEta, in_words
from eventflow.cli.status.flow import FlowStatus, RetryStatus
from eventflow.cli.status.spool import SpoolStatus
from eventflow.topology import Lane

LANES = {"live": Lane.LIVE, "due": Lane.DUE, "replay": Lane.REPLAY}


def shown_of(statuses: Sequence[FlowStatus]) -> Group:
    """Return a table, and below it one line for each possible loss."""
    return Group(table_of(statuses), *(Text(line, style="bold red") for line in _losses(statuses)))


def table_of(statuses: Sequence[FlowStatus]) -> Table:
    """Return a table with one row for each flow."""
    shown = table(*("flow", *LANES, "waiting", "dead", "processors", "ETA"), numbers=(*LANES, "dead", "processors"))
    for status in statuses:
        shown.add_row(
            status.flow,
            *(_count(status.lanes[lane]) for lane in LANES.values()),
            waiting(status.retries),
            Text(_count(status.dead), style="red" if status.dead else ""),
            Text(_count(status.processors), style="" if status.processors else "yellow"),
            in_words(status.eta),
        )
    return shown


def waiting(retries: Sequence[RetryStatus]) -> str:
    """Return the events in each retry queue: `3 in 1 s, 2 in 30 s (old)`. An old delay is no longer in a setting."""
    parts = [
        f"{retry.events} in {retry.delay_s:g} s{'' if retry.configured else ' (old)'}"
        for retry in retries
        if retry.events or (retry.events is not None and not retry.configured)
    ]
    return ", ".join(parts) or "0"


def document_of(statuses: Sequence[FlowStatus], spool: SpoolStatus | None, *, at: str) -> dict[str, Any]:
    """Return the document of `--json`: numbers of events, and null for a queue or a spool that does not exist."""
    return {
        "at": at,
        "spool": None if spool is None else asdict(spool),
        "troubles": list(_losses(statuses)),
        "flows": {status.flow: _document_of_flow(status) for status in statuses},
    }


def _document_of_flow(status: FlowStatus) -> dict[str, Any]:
    return {
        "backlog": {name: status.lanes[lane] for name, lane in LANES.items()},
        "retries": [asdict(retry) for retry in status.retries],
        "dead": status.dead,
        "processors": status.processors,
        "drain": None if status.eta is None else _document_of_eta(status.eta),
    }


def _document_of_eta(eta: BacklogEta) -> dict[str, Any]:
    return {**asdict(eta), "eta_s": None if math.isinf(eta.eta_s) else eta.eta_s}  # JSON has no infinity


def _losses(statuses: Sequence[FlowStatus]) -> Iterator[str]:
    return (f"flow {status.flow}: {line}" for status in statuses for line in status.losses)


def _count(events: int | None) -> str:
    return "-" if events is None else str(events)
