"""AMQP 0-9-1 frames of the hot path, encoded and decoded without an object for each field. Pure.

https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf describes them. The parts that many publishes have in common are
encoded once.

A foreign publisher can write any bytes into a message's properties. Reading them never fails, and its time is
proportional to their size: nested values are skipped by their length and never parsed.
"""

import re
import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from pamqp.header import ContentHeader

from eventflow.errors import HeadersTooLargeError
from eventflow.message import SOURCE, TYPE, Message

METHOD, HEADER, BODY = 1, 2, 3

Text = tuple[str, int, int]
"""The name, the start and the end of a text in a content header."""

BODY_SIZE_END = 12
"""Position after the size of the body in a content header, where the flags of its properties begin."""

CONNECTION_CLOSE, CHANNEL_CLOSE, CHANNEL_CLOSE_OK = b"\x00\x0a\x00\x32", b"\x00\x14\x00\x28", b"\x00\x14\x00\x29"
CONNECTION_BLOCKED, CONNECTION_UNBLOCKED = b"\x00\x0a\x00\x3c", b"\x00\x0a\x00\x3d"
PUBLISH, RETURN, DELIVER = b"\x00\x3c\x00\x28", b"\x00\x3c\x00\x32", b"\x00\x3c\x00\x3c"
ACK, NACK = b"\x00\x3c\x00\x50", b"\x00\x3c\x00\x78"
"""Methods, by the first bytes of their frames' payloads: class and method number."""

FRAME_HEAD = struct.Struct(">BHI")
"""The part of a frame before its payload: type, channel and size of the payload."""

HEAD_BYTES = FRAME_HEAD.size

FRAME_END = b"\xce"
OVERHEAD_BYTES = HEAD_BYTES + len(FRAME_END)
"""Bytes of a frame in addition to its payload."""

_BASIC = 60
_METHOD_BYTES = len(PUBLISH)

_HAS_CONTENT_TYPE, _HAS_CONTENT_ENCODING, _HAS_HEADERS = 1 << 15, 1 << 14, 1 << 13
_HAS_DELIVERY_MODE, _HAS_PRIORITY = 1 << 12, 1 << 11
_HAS_CORRELATION_ID, _HAS_REPLY_TO, _HAS_EXPIRATION = 1 << 10, 1 << 9, 1 << 8
_HAS_MESSAGE_ID, _HAS_TIMESTAMP = 1 << 7, 1 << 6
_FLAGS = _HAS_HEADERS | _HAS_DELIVERY_MODE | _HAS_MESSAGE_ID
"""Flags of every message of ours; a content type or a content encoding add their own."""

_HAS_MORE_FLAGS = 1
_SKIPPED = _HAS_PRIORITY | _HAS_CORRELATION_ID | _HAS_REPLY_TO | _HAS_EXPIRATION

_STRING, _TABLE, _ARRAY = b"SFA"
_NUMBERS = {  # booleans too
    kind[0]: struct.Struct(form)
    for kind, form in {
        b"t": ">?", b"b": ">b", b"B": ">B", b"s": ">h", b"u": ">H", b"I": ">i", b"i": ">I", b"l": ">q", b"L": ">q"
    }.items()
}  # fmt: skip
_FIXED_BYTES = {number: form.size for number, form in _NUMBERS.items()} | {
    kind[0]: size for kind, size in {b"f": 4, b"d": 8, b"D": 5, b"T": 8, b"V": 0, b"\0": 0}.items()
}
_MEASURED = b"SAFx"
"""Types of values that begin with their length: string, array, table, byte array. The letters are those that RabbitMQ
uses, not the specification's. https://www.rabbitmq.com/amqp-0-9-1-errata.html#section_3"""

_MILLISECONDS_ABOVE = 0xFFFFFFFF
"""A larger timestamp is in milliseconds, because in seconds it would be after the year 2106. Publishers use both."""

LIBRARY_HEADER_MAX_BYTES = 64 * 1024
LIBRARY_ENTRIES_MAX = 1024
"""Largest content header that is passed to the library, and most entries in its tables: pamqp copies the rest of a
table for each of its entries."""

LIBRARY_LEVELS_MAX = 16
"""Deepest nesting of tables that is passed to the library: pamqp parses them by recursion."""

_REPEATED = frozenset((SOURCE, TYPE))
"""Headers that many messages have in common, with the same values."""

_PERSISTENT = b"\x02"
_MANDATORY = b"\x01"
_MULTIPLE, _REQUEUE = 0b01, 0b10
_SHORT_MAX_BYTES = 255
_ANY_FRAME_BYTES = 1 << 32
"""More than the largest frame: the size is a number of 32 bits."""

_TOO_LARGE = re.compile(r"message size \d+ is larger than (?:configured )?max size (\d+)")

_CONTENT_HEAD = struct.Struct(">HHQH")
_SETTLEMENT = struct.Struct(f">BHI{_METHOD_BYTES}sQBc")
_TAG_AND_BITS = struct.Struct(">QB")
_SHORT = struct.Struct(">H")
_LONG = struct.Struct(">I")
_LONG_LONG = struct.Struct(">Q")
_SIGNED = struct.Struct(">i")


@dataclass(slots=True, kw_only=True)
class Properties:
    """The properties of a message that Event Flow uses; the others are skipped. Its fields are final as in `Event`."""

    content_type: Final[str | None] = None
    content_encoding: Final[str | None] = None
    headers: Final[Mapping[str, Any]] = field(default_factory=dict)
    message_id: Final[str | None] = None
    timestamp: Final[datetime | None] = None


NO_PROPERTIES = Properties()


def publish_frames(message: Message, *, queue: str, channel: int, frame_max: int) -> bytes:
    """Encode the publish of a persistent, mandatory message to the default exchange.

    Raises:
        HeadersTooLargeError: As `content_header`.
    """
    body = message.body
    header = content_header(message, len(body), frame_max)
    parts = [_publish_method(queue, channel), FRAME_HEAD.pack(HEADER, channel, len(header)), header, FRAME_END]
    step = frame_max - OVERHEAD_BYTES
    for start in range(0, len(body), step):
        part = body[start : start + step]
        parts += (FRAME_HEAD.pack(BODY, channel, len(part)), part, FRAME_END)
    return b"".join(parts)


def dead_letter_frame(tag: int, *, channel: int) -> bytes:
    """Encode the nack that makes the broker move a delivery to the dead-letter target of its queue."""
    return _settlement(NACK, tag, 0, channel)


def requeue_frame(tag: int, *, channel: int) -> bytes:
    """Encode the nack that requeues a delivery."""
    return _settlement(NACK, tag, _REQUEUE, channel)


def ack_frames(tags: Sequence[int], *, oldest_unsettled: int | None, channel: int) -> bytes:
    """Encode the acks of deliveries: one ack for all that are older than every unsettled delivery, one for each other.

    A queue handles an ack of several messages as one command, and then delivers as many at once.

    Args:
        tags: Delivery tags, which start at 1. None of them has been settled.
        oldest_unsettled: The lowest tag that is neither settled nor among `tags`; None if there is none.
        channel: The channel of the deliveries.
    """
    # An ack of several applies to every tag up to its own, so none of these may be of a delivery that is still in use.
    last_older = max((tag for tag in tags if oldest_unsettled is None or tag < oldest_unsettled), default=0)
    acks = [_settlement(ACK, tag, 0, channel) for tag in tags if tag > last_older]
    if last_older:
        acks.append(_settlement(ACK, last_older, _MULTIPLE, channel))
    return b"".join(acks)


def payload_of(read: bytes, start: int, end: int) -> bytes:
    """Return the payload of the frame from `start` to `end`."""
    return read[start + HEAD_BYTES : end - len(FRAME_END)]


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


def method_of(payload: bytes) -> bytes:
    """Return the method of a method frame, such as `DELIVER`."""
    return payload[:_METHOD_BYTES]


def confirm_of(payload: bytes) -> tuple[int, bool]:
    """Read an ack or nack of publishes: its delivery tag, and whether it applies to all publishes up to this tag."""
    tag, bits = _TAG_AND_BITS.unpack_from(payload, _METHOD_BYTES)
    return tag, bool(bits & 1)


def deliver_of(payload: bytes) -> tuple[bytes, int]:
    """Read the consumer tag and the delivery tag of a delivery."""
    end = 5 + payload[4]
    tag: int = _TAG_AND_BITS.unpack_from(payload, end)[0]
    return payload[5:end], tag


def content_at(read: bytes, start: int, *, channel: int) -> tuple[bytes, bytes, int] | None:
    """Read the content of a delivery at once, if it is one header frame and one body frame, side by side in one read.

    Args:
        read: Received bytes.
        start: Position after the method frame of the delivery.
        channel: The channel of the delivery. Frames of other channels may come in between.

    Returns:
        The content header, the body, and the position after both; None if the content is different or incomplete.
    """
    try:
        kind, number, header_bytes = FRAME_HEAD.unpack_from(read, start)
        if kind != HEADER or number != channel:
            return None
        header_at = start + HEAD_BYTES
        header_end = header_at + header_bytes
        body_start = header_end + len(FRAME_END)
        kind, number, body_bytes = FRAME_HEAD.unpack_from(read, body_start)
    except struct.error:  # the read ends before the body
        return None
    header = read[header_at:header_end]
    end = body_start + body_bytes + OVERHEAD_BYTES
    if kind != BODY or number != channel or end > len(read) or body_bytes_of(header) != body_bytes:
        return None
    return header, read[body_start + HEAD_BYTES : end - len(FRAME_END)], end


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


def texts_of(header: bytes, names: Collection[str]) -> Sequence[Text]:
    """Find the texts with these names in the headers table of a message of ours, and, as the last, its message id.

    Returns:
        The name, the start and the end of each; the name of the message id is empty. Nothing if one of them is not a
        text, or if the content header has another form than `publish_frames` gives it.
    """
    try:
        flags, position = _flags(header)
        for bit in (_HAS_CONTENT_TYPE, _HAS_CONTENT_ENCODING):
            if flags & bit:
                flags ^= bit
                position += 1 + header[position]
        end = position + _LONG.size + _LONG.unpack_from(header, position)[0]
        position += _LONG.size
        texts = []
        while position < end:
            kind_at = position + 1 + header[position]
            name, position = _name(header[position + 1 : kind_at]), _end_of_value(header, kind_at)
            if name in names:
                if header[kind_at] != _STRING:
                    return ()
                texts.append((name, kind_at + 1 + _LONG.size, position))
        id_at = end + len(_PERSISTENT) + 1
        id_end = id_at + header[id_at - 1]
    except (LookupError, struct.error):
        return ()
    if flags != _FLAGS or position != end or id_end != len(header):
        return ()
    return (*texts, ("", id_at, id_end))


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
        if flags & _HAS_HEADERS:
            entries = _entries_in(header, position, LIBRARY_LEVELS_MAX, is_named=True)
            if entries is None or entries > LIBRARY_ENTRIES_MAX:
                return False
        ContentHeader().unmarshal(header)
    except Exception:  # noqa: BLE001 - any error here would end the connection if the library met it
        return False
    return True


def _entries_in(data: bytes, position: int, levels: int, *, is_named: bool) -> int | None:
    """Return the number of entries of the table or array at `position`, which begins with its length, and of all in it.

    None: it is nested more than `levels` deep.
    """
    start = position + _LONG.size
    end = start + _LONG.unpack_from(data, position)[0]
    position, entries = start, 0
    while position < end:
        kind_at = position + 1 + data[position] if is_named else position
        kind, position = data[kind_at], _end_of_value(data, kind_at)
        entries += 1
        if kind in (_TABLE, _ARRAY):
            inner = _entries_in(data, kind_at + 1, levels - 1, is_named=kind == _TABLE) if levels else None
            if inner is None:
                return None
            entries += inner
    return entries


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
    return content_header(message, body_bytes_of(header), _ANY_FRAME_BYTES)


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
            elif (number := _NUMBERS.get(kind)) is not None:
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


@lru_cache(maxsize=256)
def _name(encoded: bytes) -> str:
    return encoded.decode(errors="replace")


def content_header(message: Message, body_bytes: int, frame_max: int) -> bytes:
    """Encode the content header of a message.

    Raises:
        HeadersTooLargeError: It does not fit into one frame. Sent, it would make the broker close the connection.
    """
    flags, before_headers = _content_properties(message.content_type, message.content_encoding)
    table = _table(message.headers)
    message_id = message.message_id.encode()
    header = b"".join(
        (
            _CONTENT_HEAD.pack(_BASIC, 0, body_bytes, flags),
            before_headers,
            _LONG.pack(len(table)),
            table,
            _PERSISTENT,
            bytes((len(message_id),)),
            message_id,
        )
    )
    if len(header) + OVERHEAD_BYTES > frame_max:
        raise HeadersTooLargeError(header_bytes=len(header), max_bytes=frame_max - OVERHEAD_BYTES)
    return header


@lru_cache(maxsize=256)
def _content_properties(content_type: str | None, content_encoding: str | None) -> tuple[int, bytes]:
    """Return the flags of a publish, and its properties before the headers table."""
    flags, properties = _FLAGS, b""
    if content_type is not None:
        flags |= _HAS_CONTENT_TYPE
        properties += _short(content_type)
    if content_encoding is not None:
        flags |= _HAS_CONTENT_ENCODING
        properties += _short(content_encoding)
    return flags, properties


def _table(headers: Mapping[str, str | int]) -> bytes:
    """Encode the entries of a headers table."""
    return b"".join(
        [_repeated_entry(name, value) if name in _REPEATED else _entry(name, value) for name, value in headers.items()]
    )


def _entry(name: str, value: str | int) -> bytes:
    if isinstance(value, str):  # first, because nearly all are texts
        text = value.encode()
        return _before_text(name, len(text)) + text
    if isinstance(value, bool):  # of a foreign message only
        return _short(name) + b"t" + bytes((value,))
    return _short(name) + b"I" + _SIGNED.pack(value)


_repeated_entry = lru_cache(maxsize=256)(_entry)


@lru_cache(maxsize=1024)
def _before_text(name: str, text_bytes: int) -> bytes:
    return _short(name) + b"S" + _LONG.pack(text_bytes)


@lru_cache(maxsize=1024)
def _publish_method(queue: str, channel: int) -> bytes:
    reserved_and_exchange = b"\x00\x00\x00"
    return _frame(METHOD, channel, PUBLISH + reserved_and_exchange + _short(queue) + _MANDATORY)


def _short(text: str) -> bytes:
    encoded = text.encode()
    return bytes((len(encoded),)) + encoded


def _settlement(method: bytes, tag: int, bits: int, channel: int) -> bytes:
    return _SETTLEMENT.pack(METHOD, channel, _METHOD_BYTES + _TAG_AND_BITS.size, method, tag, bits, FRAME_END)


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return FRAME_HEAD.pack(kind, channel, len(payload)) + payload + FRAME_END
