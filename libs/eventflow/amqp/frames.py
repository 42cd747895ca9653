"""AMQP 0-9-1 frames of the hot path, encoded and decoded without an object for each field. Pure.

https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf describes them. The parts of a publish that never change are
encoded once for each queue.

A foreign publisher can write any bytes into a message's properties. Reading them never fails, and its time is
proportional to their size: nested values are skipped by their length and never parsed.
"""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from pamqp.header import ContentHeader

from eventflow.message import Message

METHOD, HEADER, BODY = 1, 2, 3
CONNECTION_CLOSE, CHANNEL_CLOSE = b"\x00\x0a\x00\x32", b"\x00\x14\x00\x28"
"""The first bytes of the methods that close a connection or a channel: class and method number."""

FRAME_END = b"\xce"
OVERHEAD_BYTES = 8
"""Bytes of a frame in addition to its payload: type 1, channel 2, size 4, end 1."""

BASIC = 60
PUBLISH, RETURN, DELIVER, ACK, NACK = 40, 50, 60, 80, 120

_HAS_CONTENT_TYPE, _HAS_CONTENT_ENCODING, _HAS_HEADERS = 1 << 15, 1 << 14, 1 << 13
_HAS_DELIVERY_MODE, _HAS_PRIORITY = 1 << 12, 1 << 11
_HAS_CORRELATION_ID, _HAS_REPLY_TO, _HAS_EXPIRATION = 1 << 10, 1 << 9, 1 << 8
_HAS_MESSAGE_ID, _HAS_TIMESTAMP = 1 << 7, 1 << 6
_HAS_MORE_FLAGS = 1
_SKIPPED = _HAS_PRIORITY | _HAS_CORRELATION_ID | _HAS_REPLY_TO | _HAS_EXPIRATION

_STRING, _TABLE, _ARRAY = b"SFA"
_WHOLE_NUMBERS = {
    kind[0]: struct.Struct(form)
    for kind, form in {
        b"b": ">b", b"B": ">B", b"s": ">h", b"u": ">H", b"I": ">i", b"i": ">I", b"l": ">q", b"L": ">q"
    }.items()
}  # fmt: skip
_FIXED_BYTES = {number: form.size for number, form in _WHOLE_NUMBERS.items()} | {
    kind[0]: size for kind, size in {b"t": 1, b"f": 4, b"d": 8, b"D": 5, b"T": 8, b"V": 0, b"\0": 0}.items()
}
_MEASURED = b"SAFx"
"""Types of values that begin with their length: string, array, table, byte array. The letters are those that RabbitMQ
uses, not the specification's. https://www.rabbitmq.com/amqp-0-9-1-errata.html#section_3"""

_MILLISECONDS_ABOVE = 0xFFFFFFFF
"""A larger timestamp is in milliseconds, because in seconds it would be after the year 2106. Publishers use both."""

LIBRARY_HEADER_MAX_BYTES = 16 * 1024
"""Largest content header that is passed to the library: pamqp copies the rest of a table for each of its entries."""

LIBRARY_LEVELS_MAX = 16
"""Deepest nesting of tables that is passed to the library: pamqp parses them by recursion."""

_PERSISTENT = b"\x02"
_MANDATORY = b"\x01"
_SHORT_MAX_BYTES = 255

_TOO_LARGE = re.compile(r"message size \d+ is larger than (?:configured )?max size (\d+)")

_FRAME_HEAD = struct.Struct(">BHI")
_CONTENT_HEAD = struct.Struct(">HHQH")
_METHOD_ID = struct.Struct(">HH")
_TAG_AND_BITS = struct.Struct(">QB")
_SHORT = struct.Struct(">H")
_LONG = struct.Struct(">I")
_LONG_LONG = struct.Struct(">Q")
_SIGNED = struct.Struct(">i")


@dataclass(frozen=True, slots=True, kw_only=True)
class Properties:
    """The properties of a message that Event Flow uses; the others are skipped."""

    content_type: str | None = None
    content_encoding: str | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    message_id: str | None = None
    timestamp: datetime | None = None


NO_PROPERTIES = Properties()


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirm:
    """The broker's answer to the publish with this tag, or to all up to this tag if `multiple`."""

    tag: int
    multiple: bool
    is_ack: bool


def publish_frames(message: Message, *, queue: str, channel: int, frame_max: int) -> bytes:
    """Encode the publish of a persistent, mandatory message to the default exchange."""
    body = message.body
    frames = [_publish_method(queue, channel), _frame(HEADER, channel, _content_header(message, body_bytes=len(body)))]
    step = frame_max - OVERHEAD_BYTES
    frames += [_frame(BODY, channel, body[start : start + step]) for start in range(0, len(body), step)]
    return b"".join(frames)


def dead_letter_frame(tag: int, *, channel: int) -> bytes:
    """Encode the nack that makes the broker move a delivery to the dead-letter target of its queue."""
    return _frame(METHOD, channel, _METHOD_ID.pack(BASIC, NACK) + _TAG_AND_BITS.pack(tag, 0))


def settle_frame(tag: int, *, channel: int, requeue: bool) -> bytes:
    """Encode the ack of a delivery, or the nack that requeues it."""
    if requeue:
        return _frame(METHOD, channel, _METHOD_ID.pack(BASIC, NACK) + _TAG_AND_BITS.pack(tag, 0b10))
    return _frame(METHOD, channel, _METHOD_ID.pack(BASIC, ACK) + _TAG_AND_BITS.pack(tag, 0))


def close_reason_of(payload: bytes) -> str:
    """Read the reason in the method that closes a channel or a connection; empty if the payload is cut off."""
    # Both methods begin alike: class and method number, reply code, reply text.
    text_at = len(CHANNEL_CLOSE) + _SHORT.size + 1
    length = payload[text_at - 1 : text_at]
    return payload[text_at : text_at + length[0]].decode(errors="replace") if length else ""


def message_limit_of(reason: str) -> int | None:
    """Return the size limit, if a channel was closed because a message was larger; None for any other reason.

    There is no code for it, only a text: the same one in RabbitMQ 3.10 to 4.x, and used for nothing else
    (`check_msg_size` in `rabbit_channel.erl`).
    """
    found = _TOO_LARGE.search(reason)
    return int(found[1]) if found else None


def method_of(payload: bytes) -> int | None:
    """Return the number of a method of the class basic; None for one of another class."""
    class_id, method_id = _METHOD_ID.unpack_from(payload)
    return method_id if class_id == BASIC else None


def confirm_of(payload: bytes, method: int) -> Confirm:
    """Read an ack or nack of publishes."""
    tag, bits = _TAG_AND_BITS.unpack_from(payload, _METHOD_ID.size)
    return Confirm(tag=tag, multiple=bool(bits & 1), is_ack=method == ACK)


def deliver_of(payload: bytes) -> tuple[str, int]:
    """Read the consumer tag and the delivery tag of a delivery."""
    end = 5 + payload[4]
    tag: int = _TAG_AND_BITS.unpack_from(payload, end)[0]
    return payload[5:end].decode(), tag


def properties_of(header: bytes) -> Properties:
    """Read a content header, ours or foreign. Never fails.

    Of the headers table, strings and whole numbers are read, up to the first entry that is malformed. A string that is
    not UTF-8 is returned as bytes. A content header that is cut off yields no properties.
    """
    try:
        properties, end = _properties(header)
    except (LookupError, struct.error):
        return NO_PROPERTIES
    return properties if end <= len(header) else NO_PROPERTIES


def body_bytes_of(header: bytes) -> int:
    """Return the size of the body that follows a content header."""
    size: int = _CONTENT_HEAD.unpack_from(header)[2]
    return size


def for_library(kind: int, payload: bytes) -> bytes:
    """Return the payload of a frame in a form that the AMQP library can read, which is nearly always the same.

    The library parses nested tables by recursion and raises at text that is not UTF-8. Its errors end the connection,
    so one such message in a queue would end every session that meets it.
    """
    if kind == HEADER and not _is_readable(payload):
        return _readable_header(payload)
    if kind == METHOD and method_of(payload) == DELIVER:
        return _readable_deliver(payload)
    return payload


def _is_readable(header: bytes) -> bool:
    """Whether the library can read a content header, and in negligible time."""
    if len(header) > LIBRARY_HEADER_MAX_BYTES:
        return False
    try:
        flags, position = _flags(header)
        for bit in (_HAS_CONTENT_TYPE, _HAS_CONTENT_ENCODING):
            if flags & bit:
                position += 1 + header[position]
        if flags & _HAS_HEADERS and not _is_shallow(header, position, LIBRARY_LEVELS_MAX, is_named=True):
            return False
        ContentHeader().unmarshal(header)
    except Exception:  # noqa: BLE001 - any error here would end the connection if the library met it
        return False
    return True


def _is_shallow(data: bytes, position: int, levels: int, *, is_named: bool) -> bool:
    """Whether the table or array at `position`, which begins with its length, is nested at most `levels` deep."""
    start = position + _LONG.size
    end = start + _LONG.unpack_from(data, position)[0]
    position = start
    while position < end:
        kind_at = position + 1 + data[position] if is_named else position
        kind, position = data[kind_at], _end_of_value(data, kind_at)
        if kind in (_TABLE, _ARRAY) and not (
            levels and _is_shallow(data, kind_at + 1, levels - 1, is_named=kind == _TABLE)
        ):
            return False
    return True


def _readable_header(header: bytes) -> bytes:
    """Encode a content header again, with the properties that can be read and that the library can read too."""
    read = properties_of(header)
    headers = {
        name: value
        for name, value in read.headers.items()
        if _fits_short(name) and (isinstance(value, str) or (isinstance(value, int) and -(2**31) <= value < 2**31))
    }
    message = Message(
        body=b"",
        headers=headers,
        content_type=read.content_type if _fits_short(read.content_type) else None,
        content_encoding=read.content_encoding if _fits_short(read.content_encoding) else None,
        message_id=read.message_id if read.message_id and _fits_short(read.message_id) else "",
    )
    return _content_header(message, body_bytes=body_bytes_of(header))


def _fits_short(text: str | None) -> bool:
    return text is not None and len(text.encode()) <= _SHORT_MAX_BYTES


def _readable_deliver(payload: bytes) -> bytes:
    """Return the method of a delivery with an exchange and a routing key that are UTF-8."""
    exchange_at = 5 + payload[4] + _TAG_AND_BITS.size
    key_at = exchange_at + 1 + payload[exchange_at]
    exchange, key = payload[exchange_at + 1 : key_at], payload[key_at + 1 :]
    if exchange.isascii() and key.isascii():
        return payload
    return payload[:exchange_at] + _short(exchange.decode(errors="ignore")) + _short(key.decode(errors="ignore"))


def _flags(header: bytes) -> tuple[int, int]:
    """Return the flags of the properties in a content header, and the position of the first property."""
    word = flags = _CONTENT_HEAD.unpack_from(header)[3]
    position = _CONTENT_HEAD.size
    while word & _HAS_MORE_FLAGS:  # further words are allowed, but the protocol defines no property for them
        word = _SHORT.unpack_from(header, position)[0]
        position += _SHORT.size
    return flags, position


def _properties(header: bytes) -> tuple[Properties, int]:
    """Return the properties, and the position after the last that was read.

    They follow each other in the order of their flags, so each one that is present must be read or skipped. Slicing
    does not fail beyond the end of the data; the caller compares the position with the length.
    """
    flags, position = _flags(header)
    content_type = content_encoding = message_id = timestamp = None
    headers: dict[str, Any] = {}
    if flags & _HAS_CONTENT_TYPE:
        content_type, position = _short_at(header, position)
    if flags & _HAS_CONTENT_ENCODING:
        content_encoding, position = _short_at(header, position)
    if flags & _HAS_HEADERS:
        start = position + _LONG.size
        position = start + _LONG.unpack_from(header, position)[0]
        headers = _table_within(header, start, position)
    if flags & _HAS_DELIVERY_MODE:
        position += 1
    if flags & _SKIPPED:
        position = _after_skipped(header, flags, position)
    if flags & _HAS_MESSAGE_ID:
        message_id, position = _short_at(header, position)
    if flags & _HAS_TIMESTAMP:
        timestamp = _time_of(_LONG_LONG.unpack_from(header, position)[0])
        position += _LONG_LONG.size
    properties = Properties(
        content_type=content_type,
        content_encoding=content_encoding,
        headers=headers,
        message_id=message_id,
        timestamp=timestamp,
    )
    return properties, position


def _after_skipped(header: bytes, flags: int, position: int) -> int:
    """Skip the unused properties that come before the message id."""
    if flags & _HAS_PRIORITY:
        position += 1
    for bit in (_HAS_CORRELATION_ID, _HAS_REPLY_TO, _HAS_EXPIRATION):
        if flags & bit:
            position += 1 + header[position]
    return position


def _table_within(data: bytes, position: int, end: int) -> dict[str, Any]:
    """Read the strings and whole numbers of a table, up to its end or the first malformed entry."""
    headers: dict[str, Any] = {}
    try:
        while position < end:
            kind_at = position + 1 + data[position]
            name = _name(data[position + 1 : kind_at])
            kind = data[kind_at]
            if kind == _STRING:
                start = kind_at + 1 + _LONG.size
                position = start + _LONG.unpack_from(data, kind_at + 1)[0]
                if position <= end:
                    headers[name] = _text(data[start:position])
            elif (number := _WHOLE_NUMBERS.get(kind)) is not None:
                position = kind_at + 1 + number.size
                if position <= end:
                    headers[name] = number.unpack_from(data, kind_at + 1)[0]
            else:
                position = _end_of_value(data, kind_at)
    except (LookupError, struct.error):
        pass  # entries before the malformed one count: they are our own headers if a proxy or a client appended one
    return headers


def _end_of_value(data: bytes, kind_at: int) -> int:
    """Return the position after the value that begins, with its type, at `kind_at`.

    Raises:
        LookupError: There is no such type, or the data ends.
        struct.error: The data ends.
    """
    kind = data[kind_at]
    if kind in _MEASURED:
        return kind_at + 1 + _LONG.size + int(_LONG.unpack_from(data, kind_at + 1)[0])
    return kind_at + 1 + _FIXED_BYTES[kind]


def _text(encoded: bytes) -> str | bytes:
    try:
        return encoded.decode()
    except UnicodeDecodeError:
        return encoded


def _short_at(data: bytes, position: int) -> tuple[str, int]:
    end = position + 1 + data[position]
    return data[position + 1 : end].decode(errors="replace"), end


def _time_of(timestamp: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(timestamp if timestamp <= _MILLISECONDS_ABOVE else timestamp / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


@lru_cache(maxsize=64)
def _name(encoded: bytes) -> str:
    return encoded.decode(errors="replace")


def _content_header(message: Message, *, body_bytes: int) -> bytes:
    flags = _HAS_HEADERS | _HAS_DELIVERY_MODE | _HAS_MESSAGE_ID
    properties = []
    if message.content_type is not None:
        flags |= _HAS_CONTENT_TYPE
        properties.append(_short(message.content_type))
    if message.content_encoding is not None:
        flags |= _HAS_CONTENT_ENCODING
        properties.append(_short(message.content_encoding))
    properties += [_table(message.headers), _PERSISTENT, _short(message.message_id)]
    return _CONTENT_HEAD.pack(BASIC, 0, body_bytes, flags) + b"".join(properties)


def _table(headers: Mapping[str, str | int]) -> bytes:
    entries = []
    for name, value in headers.items():
        if isinstance(value, int):
            entries += [_table_key(name, b"I"), _SIGNED.pack(value)]
        else:
            text = value.encode()
            entries += [_table_key(name, b"S"), _LONG.pack(len(text)), text]
    table = b"".join(entries)
    return _LONG.pack(len(table)) + table


@lru_cache(maxsize=64)
def _table_key(name: str, kind: bytes) -> bytes:
    return _short(name) + kind


@lru_cache(maxsize=1024)
def _publish_method(queue: str, channel: int) -> bytes:
    reserved_and_exchange = b"\x00\x00\x00"
    return _frame(METHOD, channel, _METHOD_ID.pack(BASIC, PUBLISH) + reserved_and_exchange + _short(queue) + _MANDATORY)


def _short(text: str) -> bytes:
    encoded = text.encode()
    return bytes((len(encoded),)) + encoded


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return b"%b%b\xce" % (_FRAME_HEAD.pack(kind, channel, len(payload)), payload)
