"""Dead letters, described for people and as JSON."""

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from eventflow.amqp.browser import Browsed
from eventflow.event import format_time
from eventflow.message import FORWARDED
from eventflow.outcome import FAILURE_REASONS, TOO_LARGE

REJECTED = "rejected"
"""The broker's reason if a processor rejected the message, because its copy would be too large for the broker."""
UNKNOWN_REASON = "unknown"
BROKER = "RabbitMQ"
REASONS = (*FAILURE_REASONS, TOO_LARGE, "expired", "maxlen", "delivery_limit", UNKNOWN_REASON)
"""Every reason of a dead letter: a processor's, the broker's own, or none that is readable."""

HIDDEN = "***"


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """The reason for which RabbitMQ itself dead-lettered a message, and the queue in which it did.

    Attributes:
        reason: `expired`, `maxlen` or `delivery_limit`.
    """

    reason: str
    queue: str


def reason_of(letter: Browsed) -> str:
    """Return the reason of a dead letter: the broker's if the broker itself moved it, otherwise the processor's."""
    match _latest_death(letter):
        case (reason, _):
            return TOO_LARGE if reason == REJECTED else reason
    if letter.envelope.failure is not None:
        return letter.envelope.failure.reason
    return str(letter.headers.get("x-first-death-reason") or UNKNOWN_REASON)


def death_of(letter: Browsed) -> Death | None:
    """Return the reason if the broker itself moved a message to the dead queue; None if a processor caused it.

    A processor publishes a new message, so only a message that the broker moved carries `x-death`, its latest death
    first.
    """
    match _latest_death(letter):
        case (reason, queue) if reason != REJECTED:
            return Death(reason=reason, queue=queue)
    return None


def _latest_death(letter: Browsed) -> tuple[str, str] | None:
    """Return reason and queue of the latest death. The first one may only be its expiry in a retry queue."""
    match letter.headers.get("x-death"):
        case [{"reason": str(reason), "queue": str(queue)}, *_]:
            return reason, queue
    return None


def detail_of(letter: Browsed) -> str | None:
    """Return the detail of a processor's reason; None if there is none, or if the broker itself moved the message."""
    failure = letter.envelope.failure
    return None if failure is None or death_of(letter) is not None else failure.detail


def status_of(letter: Browsed) -> int | None:
    """Return the HTTP status of the last attempt; None if there was none, or if the broker itself moved the message."""
    failure = letter.envelope.failure
    return None if failure is None or death_of(letter) is not None else failure.status


def given_up_at(letter: Browsed) -> datetime:
    """Return the time of the last failure, or else of the broker's move, or else of the acceptance."""
    match letter.headers.get("x-death"):
        case [{"time": datetime() as moment}, *_] if death_of(letter) is not None:
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    failure = letter.envelope.failure
    return letter.envelope.event.accepted_at if failure is None else failure.last_at


def shown_reason(letter: Browsed) -> str:
    """Return the reason for display: `expired (RabbitMQ)` if the broker itself dead-lettered the event."""
    return reason_of(letter) if death_of(letter) is None else f"{reason_of(letter)} ({BROKER})"


def shown_cause(letter: Browsed) -> str:
    """Return the reason with its detail, if there is one: `connection: no_listener`."""
    detail = detail_of(letter)
    return shown_reason(letter) if detail is None else f"{shown_reason(letter)}: {detail}"


def record_of(letter: Browsed) -> dict[str, Any]:
    """Return a dead letter as a JSON object: the body is in `body` if it is UTF-8, otherwise in `body_base64`."""
    envelope, event, failure = letter.envelope, letter.envelope.event, letter.envelope.failure
    record = {
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "time": format_time(event.time),
        "reason": reason_of(letter),
        "last_status": failure.status if failure else None,
        "attempts": envelope.attempt,
        "first_failed_at": format_time(failure.first_at) if failure else None,
        "last_failed_at": format_time(failure.last_at) if failure else None,
        "content_type": event.content_type,
        "content_encoding": envelope.content_encoding,
    }
    if failure is not None:
        known = {"detail": failure.detail, "text": failure.text}
        record |= {name: value for name, value in known.items() if value is not None}
    try:
        return {**record, "body": event.body.decode()}
    except UnicodeDecodeError:
        return {**record, "body_base64": base64.b64encode(event.body).decode()}


def forwarded_of(letter: Browsed, *, with_values: bool) -> dict[str, Any] | None:
    """Return the parts of the sender's request that are forwarded to the target; None if there are none.

    Without the values, which may be secrets, `***` stands for each.
    """
    forwarded = letter.envelope.event.forwarded
    if forwarded is None:
        return None
    parts = forwarded.parts
    if with_values:
        return {"headers": dict(parts.headers), "query": parts.query, "left_out": parts.left_out}
    return {
        "headers": dict.fromkeys(parts.headers, HIDDEN),
        "query": HIDDEN if parts.query else "",
        "left_out": parts.left_out,
    }


def headers_of(letter: Browsed) -> dict[str, Any]:
    """Return the headers of the message, without the one that may contain secrets."""
    return {name: value for name, value in letter.headers.items() if name != FORWARDED}


def summary_of(letter: Browsed) -> dict[str, Any]:
    """Return a dead letter as a JSON object with the size of its body in place of the body."""
    record = {name: value for name, value in record_of(letter).items() if name not in {"body", "body_base64"}}
    return {**record, "body_bytes": len(letter.envelope.event.body)}
