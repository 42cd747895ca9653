"""Readiness of a processor: whether it can deliver an event now, and the reason if it cannot."""

import asyncio
from collections.abc import Sequence

from eventflow.management.policies import PolicyWatch
from eventflow.service.admin import Readiness
from eventflow_processor.flow import Flow, Shared


def readiness_of(flows: Sequence[Flow], shared: Shared, policies: PolicyWatch, stop: asyncio.Event) -> Readiness:
    """Return the answer of /readyz. A processor that is asked to stop is not ready."""
    publisher, is_control_lost = shared.publisher.state, shared.control.lease.is_lost
    consuming = {flow.name: flow.consumer.is_consuming for flow in flows}
    standstills = {flow.name: why for flow in flows if (why := flow.dispatcher.standstill()) is not None}
    blocked = {flow.name: error for flow in flows if (error := flow.gate.blocked_by) is not None}
    return Readiness(
        ready=(
            all(consuming.values())
            and all(flow.gate.knows_overrides for flow in flows)
            and not is_control_lost
            and publisher in {"up", "blocked"}
            and not standstills
            and not blocked
            and not stop.is_set()
        ),
        details={
            "publisher": publisher,
            "control": "down" if is_control_lost else "up",
            "consuming": consuming,
            "standstill": standstills,
            "blocked": blocked,
            "policies": policies.details,
        },
    )
