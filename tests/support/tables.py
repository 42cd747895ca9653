"""AMQP properties as a stranger may write them, byte by byte. https://www.rabbitmq.com/amqp-0-9-1-errata.html#section_3"""

import struct

from pamqp.commands import Basic


def entry(name: bytes, kind: bytes, value: bytes) -> bytes:
    """Write an entry of a table."""
    return short(name) + kind + value


def long(data: bytes) -> bytes:
    """Write a value whose length takes four bytes: a string, an array, or a table of entries."""
    return struct.pack(">I", len(data)) + data


def short(text: bytes) -> bytes:
    """Write a string whose length takes one byte."""
    return bytes((len(text),)) + text


def nested(levels: int) -> bytes:
    """Write the value of so many tables in each other."""
    value = long(b"")
    for _ in range(levels):
        value = long(entry(b"n", b"F", value))
    return value


class RawProperties(Basic.Properties):
    """Properties that the library writes as they are given, flags and all."""

    def __init__(self, flags: int, *parts: bytes) -> None:
        super().__init__(delivery_mode=2, message_id="unused")
        self.raw = struct.pack(">H", flags) + b"".join(parts)

    def marshal(self) -> bytes:
        return self.raw


CONTENT_TYPE, HEADERS, DELIVERY_MODE, MESSAGE_ID, TIMESTAMP = 0x8000, 0x2000, 0x1000, 0x0080, 0x0040
PERSISTENT = b"\x02"
