"""The status of all flows and services as a JSON document."""

import math
from dataclasses import asdict
from typing import Any

from eventflow.control.reports import report_fields
from eventflow.event import format_time
from eventflow.operations.status.flow import LANES, FlowStatus
from eventflow.operations.status.look import Status
from eventflow.operations.status.standing import STOPPED, Drain, Standing, drain_of, standing_of


def document_of(status: Status) -> dict[str, Any]:
    """Return the status as a JSON object. Null stands for an unknown value, or for a queue that does not exist."""
    return {
        "at": format_time(status.at),
        "spool": None if status.spool is None else asdict(status.spool),
        "troubles": list(status.losses),
        "unasked": status.unasked,
        "services": [asdict(service) for service in status.services],
        "flows": {flow.flow: _document_of_flow(flow) for flow in status.flows},
    }


def _document_of_flow(flow: FlowStatus) -> dict[str, Any]:
    drain, target, standing = drain_of(flow), flow.target, standing_of(flow)
    return {
        "state": standing.name.lower(),
        "flowing": None if standing is Standing.UNKNOWN else standing not in STOPPED,
        "backlog": {name: flow.lanes[lane] for name, lane in LANES.items()},
        "held": flow.held,
        "in_flight": flow.in_flight,
        "waiting": flow.waiting,
        "oldest_s": flow.oldest_s,
        "retries": [asdict(retry) for retry in flow.retries],
        "dead": flow.dead,
        "processors": flow.processors,
        "silent_processors": flow.silent,
        "paused": flow.orders.is_paused,
        "paused_at": flow.orders.paused_at,
        "paused_by": flow.orders.paused_by,
        "target": None if target is None else report_fields(target),
        "throttled_s": flow.throttled_s,
        "blocked_by": next((r.blocked_by for r in flow.reports.values() if r.blocked_by is not None), None),
        "ordered_rate_per_s": flow.orders.rate_per_s,
        "rate": None if flow.rate is None else report_fields(flow.rate),
        "drain": None if drain is None else _document_of_drain(drain),
    }


def _document_of_drain(drain: Drain) -> dict[str, Any]:
    return {**asdict(drain), "eta_s": None if math.isinf(drain.eta_s) else drain.eta_s}  # JSON has no infinity
