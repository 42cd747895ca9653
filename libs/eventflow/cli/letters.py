"""Dead letters as an operator sees them. Pure."""

import base64
import json
from dataclasses import dataclass
from typing import Any

from eventflow.cli.console import printable
from eventflow.event import format_time
from eventflow.outcome import TOO_LARGE
from eventflow.reader import Held

REJECTED = "rejected"
"""The broker's word for a message that a processor had it dead-letter: one whose copy is too large."""
UNKNOWN_REASON = "unknown"
BODY_SHOWN_CHARACTERS = 2_000
BODY_SHOWN_BYTES = 128
SHARE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which dead letters a command is about; with neither `id` nor `reason`, all."""

    id: str | None = None
    reason: str | None = None

    def has(self, letter: Held) -> bool:
        """Whether the letter is one of them."""
        if self.id is not None:
            return letter.envelope.event.id == self.id
        return self.reason is None or reason_of(letter) == self.reason


def share_of(max_body_bytes: int) -> int:
    """Return how many letters are read at once: their bodies together hold at most 64 MiB, whatever their size."""
    return max(1, SHARE_BYTES // max_body_bytes)


def reason_of(letter: Held) -> str:
    """Say why an event was given up: our own word, else the broker's (`x-first-death-reason`)."""
    if REJECTED in (letter.headers.get("x-first-death-reason"), _latest_death(letter)):
        return TOO_LARGE
    if letter.envelope.failure is not None:
        return letter.envelope.failure.reason
    return str(letter.headers.get("x-first-death-reason") or UNKNOWN_REASON)


def _latest_death(letter: Held) -> object:
    """Return why the broker has dead-lettered it last: through a retry queue, its first death is that it expired."""
    match letter.headers.get("x-death"):
        case [{"reason": reason}, *_]:
            return reason
    return None


def record_of(letter: Held) -> dict[str, Any]:
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
    try:
        return {**record, "body": event.body.decode()}
    except UnicodeDecodeError:
        return {**record, "body_base64": base64.b64encode(event.body).decode()}


def facts_of(letter: Held) -> list[tuple[str, str]]:
    """Return what `dead show` tells beside headers and body, as names and values; nothing for what is not known."""
    record = record_of(letter)
    names = ("id", "source", "type", "time", "reason", "last_status", "attempts")
    times = ("first_failed_at", "last_failed_at", "content_type", "content_encoding")
    known = [(name.replace("_", " "), str(record[name])) for name in (*names, *times) if record[name] is not None]
    return [*known, ("body", f"{len(letter.envelope.event.body)} bytes")]


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
