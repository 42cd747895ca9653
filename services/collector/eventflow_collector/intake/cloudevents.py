"""CloudEvents 1.0 over HTTP: attributes in headers (binary mode) and events in JSON (structured mode). Pure.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from eventflow.errors import InvalidEventError
from eventflow.event import (
    Event,
    is_valid_attribute,
    is_valid_text,
    parse_time,
    require_attribute,
    require_text,
)
from eventflow.extensions import CORE_ATTRIBUTES, extensions_of, is_extension_name, require_extensions
from eventflow.forwarded import Forwarded

SPEC_VERSION = "1.0"

VERSION_HEADER = "ce-specversion"
ID_HEADER = "ce-id"
SOURCE_HEADER = "ce-source"
TYPE_HEADER = "ce-type"
SUBJECT_HEADER = "ce-subject"
TIME_HEADER = "ce-time"
DATASCHEMA_HEADER = "ce-dataschema"
HEADERS = (VERSION_HEADER, ID_HEADER, SOURCE_HEADER, TYPE_HEADER, SUBJECT_HEADER, TIME_HEADER)

_PREFIX = "ce-"
_Require = Callable[[str, str], str]
_QUOTED_PAIR = re.compile(r"\\(.)")


def is_declared(headers: Mapping[str, str]) -> bool:
    """Whether a request declares itself a CloudEvent in binary mode.

    `ce-` headers without a version are read too, but not required to be complete or valid.

    Raises:
        InvalidEventError: It declares another version, or lacks a required attribute.
    """
    version = headers.get(VERSION_HEADER)
    if not version or version.isspace():
        return False
    if version != SPEC_VERSION:
        raise InvalidEventError(f"the header {VERSION_HEADER} must be {SPEC_VERSION}")
    for name in (ID_HEADER, SOURCE_HEADER, TYPE_HEADER):
        if not headers.get(name, "").strip():
            raise InvalidEventError(f"the header {name} is missing")
    return True


def header_attribute(headers: Mapping[str, str], name: str, *, is_strict: bool) -> str | None:
    """Return an id or a type in a header; None if it is empty.

    Args:
        headers: Of the request.
        name: The header.
        is_strict: An attribute that cannot be used is refused. Otherwise it counts as absent.

    Raises:
        InvalidEventError: It cannot be used.
    """
    encoded = headers.get(name)
    if not encoded or (value := _decoded(encoded, name, is_strict=is_strict)) is None:
        return None
    if is_strict:
        return require_attribute(f"the header {name}", value)
    return value if is_valid_attribute(value) else None


def header_text(headers: Mapping[str, str], name: str, *, is_strict: bool) -> str | None:
    """Return another attribute in a header; see `header_attribute`."""
    encoded = headers.get(name)
    if not encoded or (value := _decoded(encoded, name, is_strict=is_strict)) is None:
        return None
    if is_strict:
        return require_text(f"the header {name}", value)
    return value if is_valid_text(value) else None


def header_extensions(headers: Mapping[str, str], *, is_strict: bool) -> Mapping[str, str] | None:
    """Return the extension attributes in the headers; None if there are none. See `header_attribute`.

    A header with a name that CloudEvents does not allow is no attribute, such as `ce-my-tag`.
    """
    given: dict[str, str] = {}
    for header, encoded in headers.items():
        name = header.lower().removeprefix(_PREFIX)
        if len(name) == len(header) or not is_extension_name(name):
            continue
        value = _decoded(encoded, header, is_strict=is_strict)
        if value is not None:
            given.setdefault(name, value)
    return require_extensions(given) if is_strict else extensions_of(given.items())


def _decoded(value: str, name: str, *, is_strict: bool) -> str | None:
    """Decode the value of a header as section 3.1.3.2 of the binding requires; None if it is empty.

    Raises:
        InvalidEventError: It is not percent-encoded UTF-8, and `is_strict`.
    """
    if not value or value.isspace():
        return None
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = _QUOTED_PAIR.sub(r"\1", value[1:-1])
    if "%" in value:
        try:
            value = unquote(value, errors="strict")
        except UnicodeDecodeError as error:
            if not is_strict:
                return None
            raise InvalidEventError(f"the header {name} must be percent-encoded UTF-8") from error
    return value


def header_time(headers: Mapping[str, str], *, is_strict: bool) -> datetime | None:
    """Return the time in the header `ce-time`; see `header_attribute`."""
    text = header_attribute(headers, TIME_HEADER, is_strict=is_strict)
    moment = None if text is None else parse_time(text)
    if moment is None and text is not None and is_strict:
        raise InvalidEventError(f"the header {TIME_HEADER} must be a time of RFC 3339 with an offset")
    return moment


def structured_event(
    value: Any,
    body: bytes,
    *,
    content_type: str,
    traceparent: str | None,
    now: datetime,
    forwarded: Forwarded | None = None,
) -> Event:
    """Create the event of a CloudEvent in JSON that is accepted now. Its body has the original bytes of the CloudEvent.

    A `dataschema` or an extension attribute that cannot be used remains in the body, and so does not cost the event.

    Args:
        value: The parsed JSON.
        body: The bytes that it was parsed from.
        content_type: Of those bytes.
        traceparent: Trace context of the request.
        forwarded: Parts of the request for the target.

    Raises:
        InvalidEventError: It is not a valid CloudEvent; the message names the attribute.
    """
    if not isinstance(value, dict):
        raise InvalidEventError("a CloudEvent is a JSON object")
    if value.get("specversion") != SPEC_VERSION:
        raise InvalidEventError(f"specversion must be {SPEC_VERSION!r}")
    return Event(
        id=_required(value, "id"),
        source=_required(value, "source", require_text),
        type=_required(value, "type"),
        time=_time(value) or now,
        accepted_at=now,
        body=body,
        content_type=content_type,
        subject=_member(value, "subject", require_text),
        traceparent=traceparent,
        dataschema=_dataschema(value),
        extensions=None if value.keys() <= CORE_ATTRIBUTES else extensions_of(value.items()),
        forwarded=forwarded,
    )


def _required(value: dict[str, Any], name: str, require: _Require = require_attribute) -> str:
    member = _member(value, name, require)
    if member is None:
        raise InvalidEventError(f"{name} is missing")
    return member


def _member(value: dict[str, Any], name: str, require: _Require = require_attribute) -> str | None:
    member = value.get(name)
    if member is None:
        return None
    if not isinstance(member, str):
        raise InvalidEventError(f"{name} must be a string")
    return require(name, member)


def _dataschema(value: dict[str, Any]) -> str | None:
    member = value.get("dataschema")
    return member if isinstance(member, str) and is_valid_text(member) else None


def _time(value: dict[str, Any]) -> datetime | None:
    text = _member(value, "time")
    if text is None:
        return None
    moment = parse_time(text)
    if moment is None:
        raise InvalidEventError("time must be a time of RFC 3339 with an offset")
    return moment
