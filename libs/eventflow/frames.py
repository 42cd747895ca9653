"""AMQP 0-9-1 frames of the hot path, written and read without building an object for each field. Pure.

The parts of a publish that never change are written once per queue. https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf
"""

import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from pamqp.exceptions import PAMQPException
from pamqp.header import ContentHeader

from eventflow.message import Message

METHOD, HEADER, BODY = 1, 2, 3
FRAME_END = b"\xce"
OVERHEAD_BYTES = 8
"""Of a frame beside its payload: type, channel, size, end."""

BASIC = 60
PUBLISH, RETURN, DELIVER, ACK, NACK = 40, 50, 60, 80, 120

_HAS_CONTENT_TYPE, _HAS_CONTENT_ENCODING, _HAS_HEADERS = 1 << 15, 1 << 14, 1 << 13
_HAS_DELIVERY_MODE, _HAS_MESSAGE_ID = 1 << 12, 1 << 7
_OURS = _HAS_CONTENT_TYPE | _HAS_CONTENT_ENCODING | _HAS_HEADERS | _HAS_DELIVERY_MODE | _HAS_MESSAGE_ID
_STRING, _INTEGER = b"SI"
_PERSISTENT = b"\x02"
_MANDATORY = b"\x01"

_FRAME_HEAD = struct.Struct(">BHI")
_CONTENT_HEAD = struct.Struct(">HHQH")
_METHOD_ID = struct.Struct(">HH")
_TAG_AND_BITS = struct.Struct(">QB")
_LONG = struct.Struct(">I")
_SIGNED = struct.Struct(">i")


@dataclass(frozen=True, slots=True, kw_only=True)
class Properties:
    """What we read of a message's properties."""

    content_type: str | None = None
    content_encoding: str | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    message_id: str | None = None
    timestamp: datetime | None = None


NO_PROPERTIES = Properties()


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirm:
    """What the broker says of publishes: all up to `tag` where it is `multiple`, else of this one."""

    tag: int
    multiple: bool
    is_ack: bool


def publish_frames(message: Message, *, queue: str, channel: int, frame_max: int) -> bytes:
    """Write the publish of a persistent, mandatory message to the default exchange."""
    body = message.body
    frames = [_publish_method(queue, channel), _frame(HEADER, channel, _content_header(message))]
    step = frame_max - OVERHEAD_BYTES
    frames += [_frame(BODY, channel, body[start : start + step]) for start in range(0, len(body), step)]
    return b"".join(frames)


def settle_frame(tag: int, *, channel: int, requeue: bool) -> bytes:
    """Write the ack of a delivery, or the nack that returns it to its queue."""
    if requeue:
        return _frame(METHOD, channel, _METHOD_ID.pack(BASIC, NACK) + _TAG_AND_BITS.pack(tag, 0b10))
    return _frame(METHOD, channel, _METHOD_ID.pack(BASIC, ACK) + _TAG_AND_BITS.pack(tag, 0))


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
    """Read a content header: ours at once, a stranger's by the library; one that cannot be read says nothing."""
    flags = _CONTENT_HEAD.unpack_from(header)[3]
    if not flags & ~_OURS:
        with suppress(_ForeignError, UnicodeDecodeError, LookupError, struct.error):
            return _our_properties(header, flags)
    content = ContentHeader()
    try:
        content.unmarshal(header)
    except (PAMQPException, ValueError, LookupError, struct.error):
        return NO_PROPERTIES
    foreign = content.properties
    return Properties(
        content_type=foreign.content_type,
        content_encoding=foreign.content_encoding,
        headers=foreign.headers or {},
        message_id=foreign.message_id,
        timestamp=foreign.timestamp,
    )


def body_bytes_of(header: bytes) -> int:
    """Return how long the body is that a content header announces."""
    size: int = _CONTENT_HEAD.unpack_from(header)[2]
    return size


class _ForeignError(Exception):
    """A header has a value of a kind that we never write."""


def _our_properties(header: bytes, flags: int) -> Properties:
    position = _CONTENT_HEAD.size
    content_type = content_encoding = message_id = None
    headers: dict[str, Any] = {}
    if flags & _HAS_CONTENT_TYPE:
        content_type, position = _short_at(header, position)
    if flags & _HAS_CONTENT_ENCODING:
        content_encoding, position = _short_at(header, position)
    if flags & _HAS_HEADERS:
        headers, position = _table_at(header, position)
    if flags & _HAS_DELIVERY_MODE:
        position += 1
    if flags & _HAS_MESSAGE_ID:
        message_id, position = _short_at(header, position)
    return Properties(
        content_type=content_type,
        content_encoding=content_encoding,
        headers=headers,
        message_id=message_id,
    )


def _table_at(data: bytes, position: int) -> tuple[dict[str, Any], int]:
    start = position + _LONG.size
    end = start + _LONG.unpack_from(data, position)[0]
    headers: dict[str, Any] = {}
    position = start
    while position < end:
        kind_at = position + 1 + data[position]
        name = _name(data[position + 1 : kind_at])
        start = position = kind_at + 1 + _LONG.size
        if data[kind_at] == _STRING:
            position += _LONG.unpack_from(data, kind_at + 1)[0]
            headers[name] = data[start:position].decode()
        elif data[kind_at] == _INTEGER:
            headers[name] = _SIGNED.unpack_from(data, kind_at + 1)[0]
        else:
            raise _ForeignError
    return headers, end


def _short_at(data: bytes, position: int) -> tuple[str, int]:
    end = position + 1 + data[position]
    return data[position + 1 : end].decode(), end


@lru_cache(maxsize=64)
def _name(encoded: bytes) -> str:
    return encoded.decode()


def _content_header(message: Message) -> bytes:
    flags = _HAS_HEADERS | _HAS_DELIVERY_MODE | _HAS_MESSAGE_ID
    properties = []
    if message.content_type is not None:
        flags |= _HAS_CONTENT_TYPE
        properties.append(_short(message.content_type))
    if message.content_encoding is not None:
        flags |= _HAS_CONTENT_ENCODING
        properties.append(_short(message.content_encoding))
    properties += [_table(message.headers), _PERSISTENT, _short(message.message_id)]
    return _CONTENT_HEAD.pack(BASIC, 0, len(message.body), flags) + b"".join(properties)


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
