"""Messages on the control exchange: a frozen class for each kind, one `encode` and one `decode`. Pure.

The format is the JSON of 0.1.0, so that processors of different versions understand each other during a rolling
upgrade. A later version may add a field, which is ignored, and a kind, which is ignored and counted. A field that 0.1.0
does not send has a default. Times are seconds from now, because the clocks of hosts differ.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, assert_never

from eventflow.control.reading import integer, mapping, number, optional, text
from eventflow.control.reports import (
    CollectorReport,
    FailureCause,
    ProcessorReport,
    read_collector_report,
    read_failure,
    read_processor_report,
    report_fields,
)

BODY_MAX_BYTES = 4096
"""Larger bodies are not parsed: any client with write permission on the exchange can publish to it."""


class Cause(StrEnum):
    """Cause for which a circuit breaker is open."""

    DOWN = "down"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """The target asked for a pause, which lasts for `for_s` seconds from now."""

    for_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerOpened:
    """The breaker is open, and the sender probes.

    Attributes:
        cause: `DOWN` if the sender names none, as 0.1.0 does not.
        status: The HTTP status that every event gets, if the target blocks the flow.
    """

    cause: Cause = Cause.DOWN
    status: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerClosed:
    """An attempt of the sender has closed the breaker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateReduced:
    """The target grants less than the limit: `units_per_s` for all processors of the flow together."""

    units_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """A question of `eventflow why`: the state of an event."""

    event_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LastAttempt:
    """The latest attempt of an event that the sender has finished.

    Attributes:
        outcome: The word of an outcome. A later version may have more of them.
        ago_s: Seconds since its end.
        delay_s: Delay of the copy that was published; None if there was none.
        failure: None if the attempt succeeded or did not count.
    """

    outcome: str
    attempt: int
    ago_s: float
    delay_s: float | None = None
    failure: FailureCause | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InHand:
    """A delivery of an event that the sender holds.

    Attributes:
        state: `in_flight`, `held` or `waiting`. A later version may have more of them.
        lane: The name of the lane, as its queue's name has it.
        attempt: Number of the present or next attempt.
        here_s: Seconds since the broker delivered it.
    """

    state: str
    lane: str
    attempt: int
    here_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The answer to `Why`. Both parts are None if the sender does not know the event."""

    event_id: str
    last: LastAttempt | None = None
    in_hand: InHand | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AskStatus:
    """A question of `eventflow status`: the processors and the collectors of the flow answer with a report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """The sender has joined the flow, and asks every other processor to count it at once.

    Attributes:
        number: That of the question, among those of the sender.
    """

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """The answer to `Joined`: a check that began after the question has counted the newcomers.

    Attributes:
        newcomers: Their instances, each with the number of its question.
        joins: Number of times that the sender has joined the flow.
        processors: The number of processors among which the sender divides the quota.
    """

    newcomers: Mapping[str, int]
    joins: int
    processors: int


ControlMessage = (
    Pause
    | BreakerOpened
    | BreakerClosed
    | RateReduced
    | Joined
    | Counted
    | Why
    | Known
    | AskStatus
    | ProcessorReport
    | CollectorReport
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Broadcast:
    """A message with its flow and the instance name of its sender."""

    flow: str
    sender: str
    message: ControlMessage


class Ignored(StrEnum):
    """Reason for which a body is ignored; the label of a metric."""

    TOO_LARGE = "too_large"
    MALFORMED = "malformed"
    UNKNOWN_KIND = "unknown_kind"


def encode(broadcast: Broadcast) -> bytes:
    """Write a broadcast as JSON."""
    fields = {**_fields_of(broadcast.message), "flow": broadcast.flow, "from": broadcast.sender}
    return json.dumps(fields).encode()


def decode(body: bytes) -> Broadcast | Ignored:
    """Read a broadcast, or return the reason why it cannot be read. Never raises, for any bytes."""
    if len(body) > BODY_MAX_BYTES:
        return Ignored.TOO_LARGE
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):  # RecursionError: arrays nested a thousand deep
        return Ignored.MALFORMED
    match fields:
        case {"kind": str() as kind, "flow": str() as flow, "from": str() as sender}:
            read = _READERS.get(kind)
        case _:
            return Ignored.MALFORMED
    if read is None:
        return Ignored.UNKNOWN_KIND
    try:
        return Broadcast(flow=flow, sender=sender, message=read(fields))
    except (KeyError, TypeError, ValueError):
        return Ignored.MALFORMED


def facts_of(known: Known) -> dict[str, Any]:
    """Return an answer in JSON's types, as `eventflow why --json` shows it; empty for an event that is not known."""
    last = {} if known.last is None else _last_attempt_fields(known.last)
    if (here := known.in_hand) is not None:
        return {"last": last, "state": here.state, "lane": here.lane, "attempt": here.attempt, "here_s": here.here_s}
    return {"last": last, "state": "past"} if last else {}


def _fields_of(message: ControlMessage) -> dict[str, Any]:
    fields: dict[str, Any]
    match message:
        case Pause(for_s=for_s):
            fields = {"kind": "pause", "for_s": for_s}
        case BreakerOpened() | BreakerClosed():
            fields = {"kind": "breaker", **_breaker_fields(message)}
        case RateReduced(units_per_s=units_per_s):
            fields = {"kind": "rate", "units_per_s": units_per_s}
        case Joined() | Counted():
            fields = _introduction_fields(message)
        case Why(event_id=event_id):
            fields = {"kind": "why", "id": event_id}
        case Known(event_id=event_id):
            fields = {"kind": "known", "id": event_id, **facts_of(message)}
        case AskStatus():
            fields = {"kind": "status"}
        case ProcessorReport():
            fields = {"kind": "processor", **report_fields(message)}
        case CollectorReport():
            fields = {"kind": "collector", **report_fields(message)}
        case _:
            assert_never(message)
    return fields


def _breaker_fields(message: BreakerOpened | BreakerClosed) -> dict[str, Any]:
    match message:
        case BreakerOpened(cause=cause, status=status):
            return {"open": True, "cause": cause.value, "status": status}
        case BreakerClosed():
            return {"open": False}


def _introduction_fields(message: Joined | Counted) -> dict[str, Any]:
    match message:
        case Joined(number=number):
            return {"kind": "joined", "number": number}
        case Counted(newcomers=newcomers, joins=joins, processors=processors):
            return {"kind": "counted", "newcomers": dict(newcomers), "joins": joins, "processors": processors}


def _last_attempt_fields(last: LastAttempt) -> dict[str, Any]:
    fields: dict[str, Any] = {"outcome": last.outcome, "attempt": last.attempt}
    if last.delay_s is not None:
        fields["delay_s"] = last.delay_s
    if (failure := last.failure) is not None:
        fields |= {"status": None, "detail": None, **report_fields(failure)}  # as in 0.1.0, which sent null
    return {**fields, "ago_s": last.ago_s}


# The errors of each reader are those of `reading`.


def _read_pause(fields: Mapping[str, Any]) -> Pause:
    return Pause(for_s=number(fields["for_s"]))


def _read_breaker(fields: Mapping[str, Any]) -> BreakerOpened | BreakerClosed:
    match fields["open"]:
        case True:
            is_blocked = fields.get("cause") == Cause.BLOCKED
            return BreakerOpened(
                cause=Cause.BLOCKED if is_blocked else Cause.DOWN,  # a cause of a later version is an outage too
                status=optional(integer, fields.get("status")),
            )
        case False:
            return BreakerClosed()
    raise TypeError("`open` is not a Boolean")


def _read_rate(fields: Mapping[str, Any]) -> RateReduced:
    units_per_s = number(fields["units_per_s"])
    if units_per_s <= 0:
        raise ValueError("a rate must be above 0")
    return RateReduced(units_per_s=units_per_s)


def _read_joined(fields: Mapping[str, Any]) -> Joined:
    return Joined(number=integer(fields["number"]))


def _read_counted(fields: Mapping[str, Any]) -> Counted:
    newcomers = mapping(fields["newcomers"])
    return Counted(
        newcomers={newcomer: integer(number) for newcomer, number in newcomers.items()},
        joins=integer(fields["joins"]),
        processors=integer(fields["processors"]),
    )


def _read_why(fields: Mapping[str, Any]) -> Why:
    return Why(event_id=text(fields["id"]))


def _read_known(fields: Mapping[str, Any]) -> Known:
    last = fields.get("last") or None  # an empty object stands for none
    return Known(
        event_id=text(fields["id"]),
        last=None if last is None else _read_last_attempt(mapping(last)),
        in_hand=_read_in_hand(fields) if "lane" in fields else None,
    )


def _read_last_attempt(fields: Mapping[str, Any]) -> LastAttempt:
    return LastAttempt(
        outcome=text(fields["outcome"]),
        attempt=integer(fields["attempt"]),
        ago_s=number(fields["ago_s"]),
        delay_s=optional(number, fields.get("delay_s")),
        failure=read_failure(fields) if "reason" in fields else None,
    )


def _read_in_hand(fields: Mapping[str, Any]) -> InHand:
    return InHand(
        state=text(fields["state"]),
        lane=text(fields["lane"]),
        attempt=integer(fields["attempt"]),
        here_s=number(fields["here_s"]),
    )


_READERS: Mapping[str, Callable[[Mapping[str, Any]], ControlMessage]] = {
    "pause": _read_pause,
    "breaker": _read_breaker,
    "rate": _read_rate,
    "joined": _read_joined,
    "counted": _read_counted,
    "why": _read_why,
    "known": _read_known,
    "status": lambda _: AskStatus(),
    "processor": read_processor_report,
    "collector": read_collector_report,
}
