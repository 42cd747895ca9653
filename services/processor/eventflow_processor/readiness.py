"""Readiness of a processor: whether it can deliver an event now, and the reasons if it cannot."""

import asyncio
from collections.abc import Iterator, Sequence

from eventflow.control.reports import report_fields
from eventflow.management.policies import PolicyWatch
from eventflow.service.admin import Readiness
from eventflow_processor.flow import Flow, Shared
from eventflow_processor.report import report_of
from eventflow_processor.target.function.target import FunctionTarget


def obstacles_to(flows: Sequence[Flow], shared: Shared, stop: asyncio.Event) -> list[str]:
    """Return the reasons why the processor is not ready; none if it is. One that is asked to stop is not ready."""
    return [*_obstacles_of_all(shared, stop), *(line for flow in flows for line in _obstacles_of(flow))]


def readiness_of(flows: Sequence[Flow], shared: Shared, policies: PolicyWatch, stop: asyncio.Event) -> Readiness:
    """Return the answer of /readyz."""
    obstacles = obstacles_to(flows, shared, stop)
    return Readiness(
        ready=not obstacles,
        details={
            "obstacles": obstacles,
            "publisher": shared.publisher.state,
            "control": "down" if shared.control.lease.is_lost else "up",
            "consuming": {flow.name: flow.consumer.is_consuming for flow in flows},
            "standstill": {flow.name: why for flow in flows if (why := flow.dispatcher.standstill()) is not None},
            "blocked": {flow.name: error for flow in flows if (error := flow.gate.blocked_by) is not None},
            "flows": {flow.name: report_fields(report_of(flow, shared.metrics)) for flow in flows},
            "policies": policies.details,
        },
    )


def _obstacles_of_all(shared: Shared, stop: asyncio.Event) -> Iterator[str]:
    if stop.is_set():
        yield "it is stopping"
    if shared.control.lease.is_lost:
        yield "it cannot receive overrides"
    match shared.publisher.state:
        case "down":
            yield "it has no connection to publish on"
        case "refused":
            yield "RabbitMQ refuses it a right, which broker.right_missing in its log names"
        case "up" | "blocked":  # blocked: it delivers during an alarm, which ends most alarms
            pass


def _obstacles_of(flow: Flow) -> Iterator[str]:
    if not flow.consumer.is_consuming:
        yield f"flow {flow.name} has no consumer"
    if not flow.gate.knows_overrides:
        yield f"flow {flow.name}: it is not known yet whether it is paused"
    if isinstance(flow.target, FunctionTarget) and flow.target.problem is not None:
        yield f"flow {flow.name}: the database of its handler cannot be used: {flow.target.problem}"
    if (why := flow.dispatcher.standstill()) is not None:
        yield f"flow {flow.name} stands still: {why}"
    if (error := flow.gate.blocked_by) is not None:
        yield f"flow {flow.name} is blocked by internal errors: {error}"
