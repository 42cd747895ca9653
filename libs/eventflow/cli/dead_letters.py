"""Dead letters as an operator sees them. Pure."""

import base64
import json
from dataclasses import dataclass
from typing import Any

from eventflow.amqp.browser import Browsed
from eventflow.cli.console import printable
from eventflow.event import format_time
from eventflow.network.failure import MEANINGS
from eventflow.outcome import TOO_LARGE

REJECTED = "rejected"
"""The broker's reason for a message that it dead-lettered at a processor's request: its copy is too large."""
UNKNOWN_REASON = "unknown"
BROKER = "RabbitMQ"
BODY_SHOWN_CHARACTERS = 2_000
BODY_SHOWN_BYTES = 128
SHARE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which dead letters a command is about; with neither `id` nor `reason`, all."""

    id: str | None = None
    reason: str | None = None

    def has(self, letter: Browsed) -> bool:
        """Whether the letter is one of them."""
        if self.id is not None:
            return letter.envelope.event.id == self.id
        return self.reason is None or reason_of(letter) == self.reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """Why RabbitMQ itself dead-lettered a message, and in which queue.

    Attributes:
        reason: `expired`, `maxlen` or `delivery_limit`.
    """

    reason: str
    queue: str


def share_of(max_body_bytes: int) -> int:
    """Return how many letters are read at once: their bodies together hold at most 64 MiB, whatever their size."""
    return max(1, SHARE_BYTES // max_body_bytes)


def reason_of(letter: Browsed) -> str:
    """Return why an event was given up: the broker's word if the broker itself moved it here, else our own."""
    match _latest_death(letter):
        case (reason, _):
            return TOO_LARGE if reason == REJECTED else reason
    if letter.envelope.failure is not None:
        return letter.envelope.failure.reason
    return str(letter.headers.get("x-first-death-reason") or UNKNOWN_REASON)


def death_of(letter: Browsed) -> Death | None:
    """Return why the broker itself moved a letter to the dead queue; None if a processor did, or had it moved.

    Processors publish dead letters anew, so only one that the broker moved carries `x-death`, its latest death first.
    """
    match _latest_death(letter):
        case (reason, queue) if reason != REJECTED:
            return Death(reason=reason, queue=queue)
    return None


def _latest_death(letter: Browsed) -> tuple[str, str] | None:
    """Return the reason and the queue: through a retry queue, a letter's first death is that it expired."""
    match letter.headers.get("x-death"):
        case [{"reason": str(reason), "queue": str(queue)}, *_]:
            return reason, queue
    return None


def shown_reason(letter: Browsed) -> str:
    """Return the reason as `dead list` shows it: `expired (RabbitMQ)` if the broker gave the event up."""
    return reason_of(letter) if death_of(letter) is None else f"{reason_of(letter)} ({BROKER})"


def record_of(letter: Browsed) -> dict[str, Any]:
    """Return a dead letter as `dead export` writes it; the body is `body` where it is UTF-8, else `body_base64`."""
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
    if failure is not None and failure.detail is not None:
        record["detail"] = failure.detail
    try:
        return {**record, "body": event.body.decode()}
    except UnicodeDecodeError:
        return {**record, "body_base64": base64.b64encode(event.body).decode()}


def facts_of(letter: Browsed) -> list[tuple[str, str]]:
    """Return what `dead show` tells beside headers and body, as names and values; nothing for what is not known."""
    record = record_of(letter)
    names = ("id", "source", "type", "time", "reason", "detail", "last_status", "attempts")
    times = ("first_failed_at", "last_failed_at", "content_type", "content_encoding")
    known = [(name.replace("_", " "), str(record[name])) for name in (*names, *times) if record.get(name) is not None]
    known = [(name, _explained(value) if name == "detail" else value) for name, value in known]
    death = death_of(letter)
    if death is not None:
        known.append(
            ("given up by", f"{BROKER} in {death.queue}; eventflow check looks for the policy that asks for it")
        )
    return [*known, ("body", f"{len(letter.envelope.event.body)} bytes")]


def _explained(detail: str) -> str:
    return f"{detail}: {MEANINGS[detail]}" if detail in MEANINGS else detail


def shown_body(body: bytes, *, full: bool) -> str:
    """Return a body for reading: JSON indented, other text as it is, bytes in hex; cut unless `full`."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        shown = body if full else body[:BODY_SHOWN_BYTES]
        return shown.hex(" ") + _cut(len(body) - len(shown), "bytes")
    text = printable(_indented(text))
    shown_text = text if full else text[:BODY_SHOWN_CHARACTERS]
    return shown_text + _cut(len(text) - len(shown_text), "characters")


def _indented(text: str) -> str:
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def _cut(left: int, unit: str) -> str:
    return f"\n... {left} more {unit}; --full shows all" if left else ""
