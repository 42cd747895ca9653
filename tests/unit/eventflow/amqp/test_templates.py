"""Messages are read alike with templates and without."""

import struct
from datetime import UTC, datetime, timedelta

import pamqp.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventflow.amqp import frames
from eventflow.amqp.templates import MessageReader
from eventflow.event import DEFAULT_TYPE, Event, format_time
from eventflow.forwarded import Forwarded
from eventflow.message import ACCEPTED_AT, ID, SOURCE, TIME, Envelope, Failure, Message, decode, encode
from tests.support.attributes import attributes

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
SHORT = attributes(max_size=3)
"""So short that many messages have the same length, and not all of these the same form."""

MOMENTS = st.integers(0, 3).map(lambda days: MOMENT + timedelta(days=days))
TEXTS = st.sampled_from(["a", "b", "\n", 7])
TIMES = st.sampled_from([format_time(MOMENT), "2026-13-01T00:00:00.000Z"])
EVENTS = st.builds(
    Event,
    id=SHORT,
    source=SHORT,
    type=SHORT,
    time=MOMENTS,
    accepted_at=MOMENTS,
    body=st.binary(max_size=3),
    content_type=st.none() | st.sampled_from(["text/x", "text/y"]),
    subject=st.none() | SHORT,
    traceparent=st.none() | SHORT,
    dataschema=st.none() | SHORT,
    extensions=st.none() | st.dictionaries(st.sampled_from(["a", "b"]), SHORT, min_size=1),
    forwarded=st.none() | st.sampled_from([Forwarded("{}"), Forwarded("{1")]),
)
FAILURE = Failure(reason="timeout", status=500, first_at=MOMENT, last_at=MOMENT)
ENVELOPES = st.builds(
    Envelope,
    event=EVENTS,
    attempt=st.integers(1, 2),
    failure=st.none() | st.just(FAILURE),
    content_encoding=st.none() | st.just("br"),
)


def header_of(message: Message) -> bytes:
    """Return the content header of a publish."""
    written = frames.publish_frames(message, queue="q", channel=1, frame_max=4096)
    start, _, _ = pamqp.frame.unmarshal(written)  # the method frame
    _, _, size = struct.unpack_from(">BHI", written, start)
    return frames.payload_of(written, start, start + size + frames.OVERHEAD_BYTES)


def read_plainly(header: bytes, body: bytes) -> Envelope:
    properties = frames.properties_of(header)
    return decode(
        body=body,
        headers=properties.headers,
        message_id=properties.message_id,
        content_type=properties.content_type,
        content_encoding=properties.content_encoding,
        timestamp=properties.timestamp,
    )


@pytest.fixture(autouse=True)
def _no_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the id and the time of a message without them the same at each reading."""
    monkeypatch.setattr("eventflow.message.new_event_id", lambda: "new")
    monkeypatch.setattr("eventflow.message.utc_now", lambda: MOMENT)


@given(st.lists(ENVELOPES, max_size=30))
def test_messages_of_ours_are_read_alike(envelopes: list[Envelope]) -> None:
    reader = MessageReader()
    for envelope in envelopes:
        assert reader.read(header_of(encode(envelope)), envelope.event.body) == envelope


@given(ENVELOPES, st.lists(st.tuples(st.integers(0), st.binary(min_size=1, max_size=4)), max_size=30))
def test_messages_that_differ_in_any_bytes_are_read_alike(envelope: Envelope, changes: list[tuple[int, bytes]]) -> None:
    reader, first = MessageReader(), header_of(encode(envelope))
    reader.read(first, b"")
    for at, change in changes:
        position = at % len(first)
        header = (first[:position] + change + first[position + len(change) :])[: len(first)]
        assert reader.read(header, b"body") == read_plainly(header, b"body")


@given(
    st.lists(
        st.fixed_dictionaries({ID: TEXTS, TIME: TIMES}, optional={SOURCE: TEXTS, ACCEPTED_AT: TIMES}),
        max_size=30,
    )
)
def test_messages_of_others_are_read_alike(tables: list[dict[str, str | int]]) -> None:
    reader = MessageReader()
    for headers in tables:
        header = header_of(Message(body=b"", headers=headers, message_id="m"))
        assert reader.read(header, b"") == read_plainly(header, b"")


def test_long_texts_are_read_alike() -> None:
    """The template of a message with texts within the limits must not read one of the same length beyond them."""
    long, beyond = Envelope(event=event_with("s" * 300, "t" * 30)), Envelope(event=event_with("s" * 30, "t" * 300))
    reader = MessageReader()
    assert reader.read(header_of(encode(long)), b"") == long
    assert reader.read(header_of(encode(beyond)), b"").event.type == DEFAULT_TYPE


def event_with(source: str, kind: str) -> Event:
    return Event(id="i", source=source, type=kind, time=MOMENT, accepted_at=MOMENT, body=b"")


def test_a_message_that_differs_in_texts_only_is_read_by_a_template(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (
        Envelope(
            event=Event(id=name, source="/a", type="t", time=MOMENT, accepted_at=MOMENT, body=name.encode()), attempt=2
        )
        for name in ("first", "other")
    )
    reader = MessageReader()
    assert reader.read(header_of(encode(first)), b"first") == first
    monkeypatch.delattr("eventflow.amqp.templates.frames.properties_of")
    assert reader.read(header_of(encode(second)), b"other") == second
