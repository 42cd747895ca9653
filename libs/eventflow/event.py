"""Event: the domain value, with the attributes of CloudEvents 1.0. Pure."""

import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from eventflow.errors import InvalidEventError
from eventflow.forwarded import Forwarded

ATTRIBUTE_MAX_BYTES = 255
"""Limit of the id and the type, which are shown in logs and lists. Versions up to 0.2.0 replace a longer id by another
one, and then duplicates have different ids. It is also the limit of an AMQP property, such as the content type."""

TEXT_MAX_BYTES = 4096
"""Limit of the other attributes. Senders build sources and subjects from paths and URLs. Many HTTP servers refuse a
header above 8 KiB."""

DEFAULT_TYPE = "eventflow.event"

_62_BITS = (1 << 62) - 1

_MILLISECONDS = tuple(f".{millisecond:03}Z" for millisecond in range(1000))

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)

_LEAP_SECOND = re.compile(r"(.{17})60(?:\.\d+)?(.+)")

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(slots=True, kw_only=True)
class Event:
    """One thing that happened, to be delivered byte for byte.

    Its fields are final for the type checker only. With `frozen=True`, creating one would take three times as long.

    Attributes:
        id: Identifies the event. Every copy and duplicate has the same id.
        source: The system in which it happened (CloudEvents `source`).
        type: The kind of event (CloudEvents `type`).
        time: The time of the event from the sender, else the time at which it was accepted. Aware.
        accepted_at: The time at which it was accepted, from which its age counts. Aware.
        body: The bytes as received.
        content_type: As received; None if the sender gave none.
        subject: The part of the source that it is about (CloudEvents `subject`); None if the sender gave none.
        traceparent: W3C trace context of the sender, or of our span that continues it.
        has_new_id: Whether the collector has made the id, because the sender gave none. A message does not carry this.
        dataschema: The schema of the data (CloudEvents `dataschema`); None if the sender gave none.
        extensions: The extension attributes of a CloudEvent (see `eventflow.extensions`); None if it has none.
        forwarded: Parts of the sender's request for the target; None if the flow forwards none.
    """

    id: Final[str]
    source: Final[str]
    type: Final[str]
    time: Final[datetime]
    accepted_at: Final[datetime]
    body: Final[bytes]
    content_type: Final[str | None] = None
    subject: Final[str | None] = None
    traceparent: Final[str | None] = None
    has_new_id: Final[bool] = field(default=False, compare=False)
    dataschema: Final[str | None] = None
    extensions: Final[Mapping[str, str] | None] = None
    forwarded: Final[Forwarded | None] = None

    def traced(self, traceparent: str | None) -> "Event":
        """Return the event with the trace context of the span that handles it now; None keeps the present one."""
        return self if traceparent is None else replace(self, traceparent=traceparent)


def is_valid_attribute(value: str) -> bool:
    """Whether `value` can be an id, a type or a property: 1 to 255 bytes of printable Unicode without surrogates."""
    size_bytes = len(value) if value.isascii() else _encoded_bytes(value)
    return 0 < size_bytes <= ATTRIBUTE_MAX_BYTES and value.isprintable() and not value.isspace()


def is_valid_text(value: str) -> bool:
    """Whether `value` can be another attribute: 1 to 4096 bytes of Unicode without control characters and surrogates.

    These are the strings of CloudEvents. Unlike in an id, unprintable characters are allowed, because names of files
    are often part of a subject: U+202F, a space, is in the name of each screenshot of macOS.
    """
    size_bytes = len(value) if value.isascii() else _encoded_bytes(value)
    is_clean = value.isprintable() or _CONTROL_CHARACTER.search(value) is None  # the former is cheap, and too strict
    return 0 < size_bytes <= TEXT_MAX_BYTES and is_clean and not value.isspace()


def require_attribute(name: str, value: str) -> str:
    """Return `value` if it can be an id or a type.

    Raises:
        InvalidEventError: It cannot; the message has its name and the accepted form.
    """
    if not is_valid_attribute(value):
        raise InvalidEventError(f"{name} must be 1 to {ATTRIBUTE_MAX_BYTES} bytes of printable characters")
    return value


def require_text(name: str, value: str) -> str:
    """Return `value` if it can be an attribute other than the id and the type.

    Raises:
        InvalidEventError: It cannot; the message has its name and the accepted form.
    """
    if not is_valid_text(value):
        raise InvalidEventError(f"{name} must be 1 to {TEXT_MAX_BYTES} bytes without control characters")
    return value


def usable_traceparent(value: str | None) -> str | None:
    """Return a trace context if it can be parsed, and otherwise None: by W3C, a receiver ignores such a value."""
    return value if value is not None and _TRACEPARENT.fullmatch(value) else None


def _encoded_bytes(value: str) -> int:
    """Return the length in UTF-8; 0 if it has a surrogate, which cannot be encoded."""
    try:
        return len(value.encode())
    except UnicodeEncodeError:
        return 0


def new_event_id() -> str:
    """Make an id that sorts by time: a UUID of version 7 (RFC 9562)."""
    unix_ms = time.time_ns() // 1_000_000
    chance = random.getrandbits(74)  # not a secret, and `os.urandom` would be a system call for each event
    value = (unix_ms << 80) | (0x7 << 76) | (chance >> 62 << 64) | (0b10 << 62) | (chance & _62_BITS)
    digits = value.to_bytes(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def utc_now() -> datetime:
    """Return the present time, aware, in UTC."""
    return datetime.now(UTC)


def format_time(moment: datetime) -> str:
    """Format a time as RFC 3339, in UTC with milliseconds."""
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    second = _format_second(utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second)
    return second + _MILLISECONDS[utc.microsecond // 1000]


@lru_cache(maxsize=64)
def _format_second(year: int, month: int, day: int, hour: int, minute: int, second: int) -> str:
    """Format a time without its fraction; cached, because many events are accepted in the same second."""
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"


def parse_time(text: str) -> datetime | None:
    """Parse RFC 3339 to a time in UTC; None if the text is not RFC 3339, or if the year is not from 1 to 9999.

    A leap second, `23:59:60` in UTC, becomes the last microsecond before it: no clock of Python can show it, and the
    day stays the same.
    """
    if not _RFC_3339.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return _parse_unusual_time(text.upper())
    return _in_utc(moment)


def _parse_unusual_time(text: str) -> datetime | None:
    """Parse a time that Python refuses: with `z` in place of `Z`, or with a leap second."""
    leap = _LEAP_SECOND.fullmatch(text)
    try:
        moment = datetime.fromisoformat(text if leap is None else f"{leap[1]}59.999999{leap[2]}")
    except ValueError:
        return None
    utc = _in_utc(moment)
    is_possible = leap is None or (utc is not None and (utc.hour, utc.minute) == (23, 59))
    return utc if is_possible else None


def _in_utc(moment: datetime) -> datetime | None:
    try:
        return moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    except OverflowError:
        return None
