"""Event: the domain value, with the attributes of CloudEvents 1.0. Pure."""

import random
import re
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from eventflow.errors import InvalidEventError

ATTRIBUTE_MAX_BYTES = 255
"""A short string of AMQP has at most 255 bytes, and proxies truncate longer header values."""

DEFAULT_TYPE = "eventflow.event"

_62_BITS = (1 << 62) - 1

_MILLISECONDS = tuple(f".{millisecond:03}Z" for millisecond in range(1000))

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)


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

    def traced(self, traceparent: str | None) -> "Event":
        """Return the event with the trace context of the span that handles it now; None keeps the present one."""
        return self if traceparent is None else replace(self, traceparent=traceparent)


def is_valid_attribute(value: str) -> bool:
    """Whether `value` can be an event attribute: 1 to 255 bytes of printable Unicode without surrogates."""
    try:
        size_bytes = len(value) if value.isascii() else len(value.encode())
    except UnicodeEncodeError:
        return False
    return 0 < size_bytes <= ATTRIBUTE_MAX_BYTES and value.isprintable() and not value.isspace()


def require_attribute(name: str, value: str) -> str:
    """Return `value` if it can be an event attribute.

    Raises:
        InvalidEventError: It cannot be an event attribute; the message has its name and the accepted form.
    """
    if not is_valid_attribute(value):
        raise InvalidEventError(f"{name} must be 1 to {ATTRIBUTE_MAX_BYTES} bytes of printable characters")
    return value


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
    """Parse RFC 3339 to a time in UTC; None if the text is not RFC 3339, or if the year is not from 1 to 9999."""
    if not _RFC_3339.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
