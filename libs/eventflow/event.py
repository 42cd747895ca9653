"""Event: the domain value, named by the attributes of CloudEvents 1.0. Pure."""

import random
import re
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from eventflow.errors import InvalidEventError

ATTRIBUTE_MAX_BYTES = 255
"""AMQP carries a short string in at most 255 bytes, and brokers and proxies cut longer header values."""

DEFAULT_TYPE = "eventflow.event"

_62_BITS = (1 << 62) - 1

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened, to be delivered byte for byte.

    Attributes:
        id: Names the event for ever; every copy and duplicate carries the same one.
        source: Who says so (CloudEvents `source`).
        type: What kind of thing happened (CloudEvents `type`).
        time: When, as the sender says; else when it was accepted. Aware.
        accepted_at: When we took it, the start of its age. Aware.
        body: The bytes as received.
        content_type: As received; None where the sender gave none.
        subject: What of the source it is about (CloudEvents `subject`); None where the sender does not say.
        traceparent: W3C trace context of the sender, or of our span that continues it.
    """

    id: str
    source: str
    type: str
    time: datetime
    accepted_at: datetime
    body: bytes
    content_type: str | None = None
    subject: str | None = None
    traceparent: str | None = None

    def traced(self, traceparent: str | None) -> "Event":
        """Return the event with the trace context of whoever handles it now; None leaves the one it has."""
        return self if traceparent is None else replace(self, traceparent=traceparent)


def is_valid_attribute(value: str) -> bool:
    """Whether `value` can travel as an event attribute: 1 to 255 bytes of printable Unicode without surrogates."""
    try:
        size_bytes = len(value) if value.isascii() else len(value.encode())
    except UnicodeEncodeError:
        return False
    return 0 < size_bytes <= ATTRIBUTE_MAX_BYTES and value.isprintable() and not value.isspace()


def require_attribute(name: str, value: str) -> str:
    """Return `value`, or raise.

    Raises:
        InvalidEventError: It cannot travel as an event attribute; the message names it and says what is accepted.
    """
    if not is_valid_attribute(value):
        raise InvalidEventError(f"{name} must be 1 to {ATTRIBUTE_MAX_BYTES} bytes of printable characters")
    return value


def new_event_id() -> str:
    """Make an id that sorts by time: a UUID of version 7 (RFC 9562)."""
    unix_ms = time.time_ns() // 1_000_000
    chance = random.getrandbits(74)  # no secret; a system call each would be the dearest part of it
    value = (unix_ms << 80) | (0x7 << 76) | (chance >> 62 << 64) | (0b10 << 62) | (chance & _62_BITS)
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def utc_now() -> datetime:
    """Return the wall clock's time, aware, in UTC."""
    return datetime.now(UTC)


def format_time(moment: datetime) -> str:
    """Format a moment as RFC 3339, in UTC with milliseconds."""
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return utc.isoformat(timespec="milliseconds")[:-6] + "Z"


def parse_time(text: str) -> datetime | None:
    """Parse RFC 3339 to a moment in UTC; None where it is not, or where that moment is before year 1 or after 9999."""
    if not _RFC_3339.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
