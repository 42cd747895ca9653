"""Reports of the services to `eventflow status`: frozen classes, and their JSON. Pure.

None stands for an unknown value: a service of another version may not send the field, and it must not look like 0.
Infinity is null in JSON, which has no word for it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from eventflow.control.reading import boolean, integer, mapping, number, optional, text, unbounded

TARGET_UP = "up"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureCause:
    """The cause of a failed attempt; `detail` and `text` are absent in messages of older versions."""

    reason: str
    status: int | None = None
    detail: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetReport:
    """The target of a flow, as its breaker judges it.

    Attributes:
        state: `up`, `down` or `blocked`, if it refuses every event. A later version may have more of them.
        status: The HTTP status that every event gets, if the target blocks the flow.
        for_s: Seconds since the breaker opened.
        failure: The latest failure that the sender knows, if the breaker is open.
    """

    state: str
    status: int | None = None
    for_s: float | None = None
    failure: FailureCause | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RateReport:
    """Rates of a flow in units per second; infinite if there is no limit.

    Attributes:
        now_per_s: The quota of all processors together now, after the answers of the target.
        configured_per_s: The rate in the settings of the sender.
        ordered_per_s: The rate that an operator has set in its place; None if there is none.
        share_per_s: The part that the sender may use now.
        cost: Units that one attempt costs.
    """

    now_per_s: float | None = None
    configured_per_s: float | None = None
    ordered_per_s: float | None = None
    share_per_s: float | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorReport:
    """One flow in one processor.

    Attributes:
        is_ready: Whether the processor is ready, with all its flows.
        obstacles: The reasons why it is not.
        is_consuming: Whether it consumes from the queues of the flow.
        held: Deliveries that it has received and not settled.
        in_flight: Attempts in flight, a part of `held`.
        oldest_s: Age of the oldest event that waits for its turn in the processor, since its acceptance; 0 if none
            waits. The lanes are FIFO, so the events that are still in their queues are hardly older.
        is_paused: Whether an operator has paused the flow.
        paused_at: Time of the pause in RFC 3339.
        paused_by: The operator, as `user@host`.
        throttled_s: Seconds until the end of the pause that the target asked for; 0 if there is none.
        blocked_by: Type of the internal error that blocks the flow in this processor.
        eta_s: Seconds until nothing waits; infinite if the backlog does not shrink.
        arrival_per_s: Events per second that enter the lanes.
        departure_per_s: Events per second that leave them.
        queues_vanished: Queues that no longer existed, since the start of the processor.
        dangerous_policies: Settings of policies in effect that can delete events.
    """

    is_ready: bool | None = None
    obstacles: tuple[str, ...] = ()
    is_consuming: bool | None = None
    held: int | None = None
    in_flight: int | None = None
    oldest_s: float | None = None
    is_paused: bool | None = None
    paused_at: str | None = None
    paused_by: str | None = None
    throttled_s: float | None = None
    blocked_by: str | None = None
    target: TargetReport | None = None
    rate: RateReport | None = None
    eta_s: float | None = None
    arrival_per_s: float | None = None
    departure_per_s: float | None = None
    queues_vanished: int | None = None
    dangerous_policies: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolReport:
    """The spool of one collector process, which holds events until the broker confirms them.

    Attributes:
        state: `empty`, `spooling`, `draining`, `full` or `stuck`.
        set_aside: Events that are kept and not sent, because they are larger than the broker accepts.
        failing: Whether the disk fails or does not answer, so that no event can be spooled.
    """

    state: str
    events: int
    set_aside: int
    size_bytes: int
    oldest_s: float
    failing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorReport:
    """One collector process, or one worker of several.

    Attributes:
        broker: State of its publisher: `up`, `blocked`, `down` or `refused`.
        spool: None if it has none.
        accepted_total: Events of the flow that were accepted since the start of the process, so that two reports give
            a rate.
        uptime_s: Seconds since that start.
    """

    is_ready: bool | None = None
    broker: str | None = None
    spool: SpoolReport | None = None
    accepted_total: int | None = None
    uptime_s: float | None = None


Report = ProcessorReport | CollectorReport


def report_fields(report: Report | TargetReport | RateReport | SpoolReport | FailureCause) -> dict[str, Any]:
    """Return a report in JSON's types, without unknown values."""
    found: dict[str, Any] = {}
    for name in (each.name for each in fields(report)):
        value = getattr(report, name)
        match value:
            case None | ():
                continue
            case TargetReport() | RateReport() | SpoolReport() | FailureCause():
                found[name] = report_fields(value)
            case float() if math.isinf(value):
                found[name] = None
            case tuple():
                found[name] = list(value)
            case _:
                found[name] = value
    return found


def read_processor_report(found: Mapping[str, Any]) -> ProcessorReport:
    """Read a report of a processor; the errors are those of `reading`."""
    obstacles = found.get("obstacles", [])
    if not isinstance(obstacles, list):
        raise TypeError("not a list")
    return ProcessorReport(
        is_ready=optional(boolean, found.get("is_ready")),
        obstacles=tuple(text(obstacle) for obstacle in obstacles),
        is_consuming=optional(boolean, found.get("is_consuming")),
        held=optional(integer, found.get("held")),
        in_flight=optional(integer, found.get("in_flight")),
        oldest_s=optional(number, found.get("oldest_s")),
        is_paused=optional(boolean, found.get("is_paused")),
        paused_at=optional(text, found.get("paused_at")),
        paused_by=optional(text, found.get("paused_by")),
        throttled_s=optional(number, found.get("throttled_s")),
        blocked_by=optional(text, found.get("blocked_by")),
        target=None if "target" not in found else _read_target(mapping(found["target"])),
        rate=None if "rate" not in found else _read_rate(mapping(found["rate"])),
        eta_s=unbounded(found, "eta_s"),
        arrival_per_s=optional(number, found.get("arrival_per_s")),
        departure_per_s=optional(number, found.get("departure_per_s")),
        queues_vanished=optional(integer, found.get("queues_vanished")),
        dangerous_policies=optional(integer, found.get("dangerous_policies")),
    )


def read_collector_report(found: Mapping[str, Any]) -> CollectorReport:
    """Read a report of a collector; the errors are those of `reading`."""
    return CollectorReport(
        is_ready=optional(boolean, found.get("is_ready")),
        broker=optional(text, found.get("broker")),
        spool=None if "spool" not in found else _read_spool(mapping(found["spool"])),
        accepted_total=optional(integer, found.get("accepted_total")),
        uptime_s=optional(number, found.get("uptime_s")),
    )


def read_failure(found: Mapping[str, Any]) -> FailureCause:
    """Read the cause of a failure; the errors are those of `reading`."""
    return FailureCause(
        reason=text(found["reason"]),
        status=optional(integer, found.get("status")),
        detail=optional(text, found.get("detail")),
        text=optional(text, found.get("text")),
    )


def _read_target(found: Mapping[str, Any]) -> TargetReport:
    return TargetReport(
        state=text(found["state"]),
        status=optional(integer, found.get("status")),
        for_s=optional(number, found.get("for_s")),
        failure=None if "failure" not in found else read_failure(mapping(found["failure"])),
    )


def _read_rate(found: Mapping[str, Any]) -> RateReport:
    return RateReport(
        now_per_s=unbounded(found, "now_per_s"),
        configured_per_s=unbounded(found, "configured_per_s"),
        ordered_per_s=optional(number, found.get("ordered_per_s")),
        share_per_s=unbounded(found, "share_per_s"),
        cost=optional(number, found.get("cost")),
    )


def _read_spool(found: Mapping[str, Any]) -> SpoolReport:
    return SpoolReport(
        state=text(found["state"]),
        events=integer(found["events"]),
        set_aside=integer(found["set_aside"]),
        size_bytes=integer(found["size_bytes"]),
        oldest_s=number(found["oldest_s"]),
        failing=boolean(found["failing"]),
    )
