"""Records as JSON objects, alike in the command, its exports and the console. Pure."""

import base64
import codecs
from datetime import datetime
from typing import Any

from eventflow.event import format_time
from eventflow.history.records import Action, AttemptRecord, Gap

_utf_8 = codecs.getincrementaldecoder("utf-8")


def document_of(record: AttemptRecord) -> dict[str, Any]:
    """Return an attempt with the names of its columns.

    The answer is in `answer` if it is UTF-8, and otherwise in `answer_base64`.
    """
    document = {
        name: format_time(value) if isinstance(value, datetime) else value for name, value in record._asdict().items()
    }
    if record.answer is None:
        return document
    text = text_of(record.answer)
    if text is not None:
        return document | {"answer": text}
    del document["answer"]
    return document | {"answer_base64": base64.b64encode(record.answer).decode()}


def gap_document(gap: Gap) -> dict[str, Any]:
    """Return a gap."""
    return {
        "writer": gap.writer,
        "flow": gap.flow,
        "since": format_time(gap.since),
        "until": format_time(gap.until),
        "attempts": gap.attempts,
        "reason": gap.reason,
    }


def action_document(action: Action) -> dict[str, Any]:
    """Return an action of an operator."""
    return {
        "id": action.id,
        "at": format_time(action.at),
        "by": action.by,
        "flow": action.flow,
        "kind": action.kind,
        "detail": action.detail,
    }


def text_of(answer: bytes) -> str | None:
    """Return an answer as text; None if it is not UTF-8.

    Only its beginning is kept, so its last character may be incomplete. Such a character is left out.
    """
    try:
        return _utf_8().decode(answer)
    except UnicodeDecodeError:
        return None
