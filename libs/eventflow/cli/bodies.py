"""Bodies of events and of answers for display."""

import json

from eventflow.cli.console import printable

BODY_SHOWN_CHARACTERS = 2_000
BODY_SHOWN_BYTES = 128


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
