"""One dead letter as the command shows it."""

import json

from eventflow.amqp.browser import Browsed
from eventflow.cli.console import printable
from eventflow.network.failure import explained
from eventflow.operations.dead.letters import BROKER, death_of, record_of

BODY_SHOWN_CHARACTERS = 2_000
BODY_SHOWN_BYTES = 128


def facts_of(letter: Browsed) -> list[tuple[str, str]]:
    """Return names and values that `dead show` prints before the headers and the body; unknown values are left out."""
    record = record_of(letter)
    names = ("id", "source", "type", "time", "reason", "detail", "last_status", "text", "attempts")
    times = ("first_failed_at", "last_failed_at", "content_type", "content_encoding")
    known = [(name.replace("_", " "), str(record[name])) for name in (*names, *times) if record.get(name) is not None]
    known = [(name, explained(value) if name == "detail" else value) for name, value in known]
    death = death_of(letter)
    if death is not None:
        known.append(
            ("given up by", f"{BROKER} in {death.queue}; run eventflow check to find the policy that causes this")
        )
    return [*known, ("body", f"{len(letter.envelope.event.body)} bytes")]


def shown_body(body: bytes, *, full: bool) -> str:
    """Return a body for display: JSON indented, other text unchanged, other bytes in hex; cut unless `full`."""
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
