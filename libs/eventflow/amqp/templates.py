"""Reading of messages by templates: earlier messages that differ from them in a few texts only. Pure.

The content headers of most events differ only in their ids, sources, types, times and traces. If these have the same
lengths, all other bytes are equal and at the same positions. So a header is split by one call, its other bytes are
compared, and only the texts are read.
"""

import struct
from collections.abc import Sequence
from dataclasses import replace

from eventflow.amqp import frames
from eventflow.event import ATTRIBUTE_MAX_BYTES, TEXT_MAX_BYTES, Event, parse_time
from eventflow.message import ACCEPTED_AT, ID, SOURCE, SUBJECT, TIME, TRACEPARENT, TYPE, Envelope, decode

TEMPLATES_MAX = 256
HEADER_MAX_BYTES = 4096
"""Limits of the memory of templates: together, headers of 1 MiB for each channel."""

_TIMES = frozenset((TIME, ACCEPTED_AT))
_TEXTS = _TIMES | {ID, SOURCE, TYPE, SUBJECT, TRACEPARENT}
"""Headers that differ from event to event."""

_LONG_TEXTS = frozenset((SOURCE, SUBJECT))

_REQUIRED = _TIMES | {ID}
"""Headers of every template. An event without them gets a new id, or the present time."""


class MessageReader:
    """Reads the messages of one channel, each as `frames.properties_of` and `decode` alone would read it."""

    def __init__(self) -> None:
        self._templates: dict[int, Template] = {}  # by the length of the content header

    def read(self, header: bytes, body: bytes) -> Envelope:
        """Read a message by its content header and body, ours or foreign. Never fails."""
        template = self._templates.get(len(header))
        envelope = None if template is None else template.read(header, body)
        if envelope is not None:
            return envelope
        properties = frames.properties_of(header)
        envelope = decode(
            body=body,
            headers=properties.headers,
            message_id=properties.message_id,
            content_type=properties.content_type,
            content_encoding=properties.content_encoding,
            timestamp=properties.timestamp,
        )
        if template is None and properties.headers.keys() >= _REQUIRED:
            self._keep(header, envelope)
        return envelope

    def _keep(self, header: bytes, envelope: Envelope) -> None:
        """Keep a message as the template for its length, for good: a new one for each difference would save nothing."""
        if len(header) > HEADER_MAX_BYTES or len(self._templates) == TEMPLATES_MAX:
            return
        texts = frames.texts_of(header, _TEXTS)
        if texts and all(0 < end - start <= _max_bytes_of(name) for name, start, end in texts):
            self._templates[len(header)] = Template(header, texts, envelope)


def _max_bytes_of(name: str) -> int:
    return TEXT_MAX_BYTES if name in _LONG_TEXTS else ATTRIBUTE_MAX_BYTES


class Template:
    """A content header with gaps for its texts, and the envelope that was read from it."""

    __slots__ = ("_envelope", "_names", "_others", "_split")

    def __init__(self, header: bytes, texts: Sequence[frames.Text], envelope: Envelope) -> None:
        """Cut the texts out of the header. It ends with the last of them, and each has a valid length."""
        position = frames.BODY_SIZE_END  # the size of the body is not among the properties
        layout = [f"{position}x"]
        for _, start, end in texts:
            layout.append(f"{start - position}s{end - start}s")
            position = end
        self._split = struct.Struct("".join(layout)).unpack
        self._others = self._split(header)[::2]
        self._names = tuple(name for name, _, _ in texts)
        self._envelope = replace(envelope, event=replace(envelope.event, body=b""))  # so that the body is freed

    def read(self, header: bytes, body: bytes) -> Envelope | None:
        """Read a message whose header has the same length; None if other bytes differ, or if a text is not valid."""
        parts = self._split(header)
        if parts[::2] != self._others:
            return None
        try:
            values = tuple(map(bytes.decode, parts[1::2]))
        except UnicodeDecodeError:
            return None
        # For each of them as `is_valid_attribute`, or stricter: their lengths are those of the template.
        if not "".join(values).isprintable() or any(map(str.isspace, values)):
            return None
        texts = dict(zip(self._names, values, strict=True))
        accepted_at = parse_time(texts[ACCEPTED_AT])
        time = accepted_at if texts[TIME] == texts[ACCEPTED_AT] else parse_time(texts[TIME])
        if accepted_at is None or time is None:
            return None
        earlier = self._envelope
        event = earlier.event
        return Envelope(
            event=Event(
                id=texts[ID],
                source=texts.get(SOURCE, event.source),
                type=texts.get(TYPE, event.type),
                time=time,
                accepted_at=accepted_at,
                body=body,
                content_type=event.content_type,
                subject=texts.get(SUBJECT),
                traceparent=texts.get(TRACEPARENT),
                dataschema=event.dataschema,
                extensions=event.extensions,
                forwarded=event.forwarded,
            ),
            attempt=earlier.attempt,
            failure=earlier.failure,
            content_encoding=earlier.content_encoding,
        )
