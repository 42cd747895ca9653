"""Exported dead letters: a JSON object per line, from which the event can be sent again."""

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from eventflow.amqp.browser import Browsed
from eventflow.event import TEXT_MAX_BYTES, Event, format_time, is_valid_attribute, is_valid_text, parse_time, utc_now
from eventflow.extensions import EXTENSIONS_MAX, EXTENSIONS_MAX_BYTES, extensions_of
from eventflow.forwarded import FORWARDED_MAX_BYTES, Forwarded, Parts, forwarded
from eventflow.message import Envelope
from eventflow.operations.dead.letters import forwarded_of, record_of


def exported(letter: Browsed, flow: str) -> dict[str, Any]:
    """Return a dead letter as a JSON object that has everything to send the event again."""
    event = letter.envelope.event
    return {
        "flow": flow,
        **record_of(letter),
        "accepted_at": format_time(event.accepted_at),
        "subject": event.subject,
        "traceparent": event.traceparent,
        "dataschema": event.dataschema,
        "extensions": event.extensions,
        "forwarded": forwarded_of(letter, with_values=True),
    }


def envelope_of(line: bytes, flow: str) -> Envelope:
    """Return the event in a line of an export, without attempts.

    Fields that describe the failures are ignored, and so are unknown fields.

    Raises:
        ValueError: It is not such a line, or is of another flow; the text gives the reason.
    """
    record = _json_object(line)
    if record.get("flow", flow) != flow:
        raise ValueError(f"it is of the flow {record['flow']!r}: name that flow by --flow, or remove the field")
    accepted_at = _time(record, "accepted_at") or utc_now()
    return Envelope(
        event=Event(
            id=_required(record, "id"),
            source=_required_text(record, "source"),
            type=_required(record, "type"),
            time=_time(record, "time") or accepted_at,
            accepted_at=accepted_at,
            body=_body(record),
            content_type=_attribute(record, "content_type"),
            subject=_text(record, "subject"),
            traceparent=_attribute(record, "traceparent"),
            dataschema=_text(record, "dataschema"),
            extensions=_extensions(record),
            forwarded=_forwarded(record),
        ),
        content_encoding=_attribute(record, "content_encoding"),
    )


def _json_object(line: bytes) -> Mapping[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(record, dict):
        raise ValueError("a JSON object is expected")  # noqa: TRY004 - a wrong line, as any other
    return record


def _attribute(record: Mapping[str, Any], name: str) -> str | None:
    value = record.get(name)
    if value is not None and not (isinstance(value, str) and is_valid_attribute(value)):
        raise ValueError(f"{name} is not a text of 1 to 255 bytes of printable characters")
    return value


def _text(record: Mapping[str, Any], name: str) -> str | None:
    value = record.get(name)
    if value is not None and not (isinstance(value, str) and is_valid_text(value)):
        raise ValueError(f"{name} is not a text of 1 to {TEXT_MAX_BYTES} bytes without control characters")
    return value


def _extensions(record: Mapping[str, Any]) -> Mapping[str, str] | None:
    given = record.get("extensions") or {}
    extensions = extensions_of(given.items()) if isinstance(given, dict) else None
    if len(extensions or ()) != len(given):
        raise ValueError(
            f"extensions is not an object of at most {EXTENSIONS_MAX} attributes and {EXTENSIONS_MAX_BYTES} bytes, "
            "with lower-case letters and digits as names, and texts as values"
        )
    return extensions


def _forwarded(record: Mapping[str, Any]) -> Forwarded | None:
    """Return the forwarded parts; those that no target may get are an error here, so that none is lost unnoticed."""
    match record.get("forwarded"):
        case None:
            return None
        case {"headers": dict(headers), "query": str(query), "left_out": int(left_out)}:
            parts = Parts(headers=headers, query=query, left_out=left_out)
            written = forwarded(parts)
            if written.parts == parts and len(written.text) <= FORWARDED_MAX_BYTES:
                return written
    raise ValueError(
        f"forwarded is not an object of headers, query and left_out that can be sent, of {FORWARDED_MAX_BYTES} bytes"
    )


def _required_text(record: Mapping[str, Any], name: str) -> str:
    value = _text(record, name)
    if value is None:
        raise ValueError(f"{name} is missing")
    return value


def _required(record: Mapping[str, Any], name: str) -> str:
    value = _attribute(record, name)
    if value is None:
        raise ValueError(f"{name} is missing")
    return value


def _time(record: Mapping[str, Any], name: str) -> datetime | None:
    value = record.get(name)
    moment = parse_time(value) if isinstance(value, str) else None
    if moment is None and value is not None:
        raise ValueError(f"{name} is not a time such as 2026-11-28T02:00:00.000Z")
    return moment


def _body(record: Mapping[str, Any]) -> bytes:
    match record:
        case {"body": _, "body_base64": _}:
            raise ValueError("body and body_base64 are both set: keep one of them")
        case {"body": str(text)}:
            return _encoded(text)
        case {"body_base64": str(text)}:
            return _decoded(text)
        case {"body": _} | {"body_base64": _}:
            raise ValueError("the body is not a text; JSON in a body is written as a string (tojson in jq)")
    raise ValueError("body is missing")


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ValueError("the body has a character that UTF-8 cannot encode") from None


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise ValueError("body_base64 is not base64") from None
