"""Encoding and decoding of events: nothing is changed, and no foreign property is passed on."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventflow.amqp.frames import publish_frames
from eventflow.errors import HeadersTooLargeError
from eventflow.event import ATTRIBUTE_MAX_BYTES, TEXT_MAX_BYTES, Event, new_event_id
from eventflow.excerpt import EXCERPT_MAX_BYTES
from eventflow.extensions import EXTENSIONS_MAX_BYTES
from eventflow.forwarded import FORWARDED_MAX_BYTES, Forwarded
from eventflow.message import (
    FORWARDED,
    ID,
    TEXT,
    TRACEPARENT,
    TYPE,
    Envelope,
    Failure,
    decode,
    encode,
    restarted,
)
from tests.support.envelopes import envelopes

DEFAULT_FRAME_MAX = 128 * 1024
LIMITS = {
    **dict.fromkeys((ID, TYPE, TRACEPARENT), ATTRIBUTE_MAX_BYTES),
    TEXT: EXCERPT_MAX_BYTES,
    FORWARDED: FORWARDED_MAX_BYTES,
}
amqp_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.floats() | st.datetimes(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(envelopes)
def test_what_is_encoded_is_decoded_again(envelope: Envelope) -> None:
    message = encode(envelope)
    assert decoded(message.headers, message.body, message.content_type, message.content_encoding) == envelope


@given(envelopes)
def test_every_publish_has_a_fresh_message_id_and_values_of_limited_length(envelope: Envelope) -> None:
    first, second = encode(envelope), encode(envelope)
    assert first.message_id != second.message_id
    for name, value in first.headers.items():
        assert isinstance(value, int) or len(value.encode()) <= LIMITS.get(name, TEXT_MAX_BYTES)


def test_the_headers_of_the_largest_message_need_less_than_half_of_a_frame_of_the_default_size() -> None:
    longest = "a" * ATTRIBUTE_MAX_BYTES
    long = "l" * TEXT_MAX_BYTES
    text = "b" * EXCERPT_MAX_BYTES
    at = datetime(2026, 1, 1, tzinfo=UTC)
    message = encode(
        Envelope(
            event=Event(
                id=longest,
                source=long,
                type=longest,
                time=at,
                accepted_at=at,
                body=b"",
                content_type=longest,
                subject=long,
                traceparent=longest,
                dataschema=long,
                extensions={"e" + "x" * 63: "v" * (EXTENSIONS_MAX_BYTES - 64)},
                forwarded=Forwarded("{" * FORWARDED_MAX_BYTES),
            ),
            attempt=1000,
            failure=Failure(
                reason=longest, status=599, first_at=at, last_at=at, detail=longest, text=text, traceparent=longest
            ),
            content_encoding=longest,
        )
    )
    both = publish_frames(message, queue=longest, channel=1, frame_max=DEFAULT_FRAME_MAX)
    assert len(both) < DEFAULT_FRAME_MAX / 2
    with pytest.raises(HeadersTooLargeError, match="4088 bytes of a frame"):
        publish_frames(message, queue=longest, channel=1, frame_max=4096)


@given(
    headers=st.dictionaries(
        st.sampled_from(
            [
                *("cloudEvents:id", "cloudEvents:time", "cloudEvents:subject", "cloudEvents:dataschema"),
                *("cloudEvents:mine", "cloudEvents:", "cloudEvents:My-Tag", "cloudEvents:specversion"),
                *("eventflow-attempt", "eventflow-reason", "eventflow-forwarded", "CC", "x-death"),
            ]
        ),
        amqp_values,
    ),
    body=st.binary(max_size=100),
    message_id=st.none() | st.text(max_size=300),
)
def test_any_foreign_message_is_an_event_and_can_be_copied(
    headers: dict[str, Any], body: bytes, message_id: str | None
) -> None:
    envelope = decode(body=body, headers=headers, message_id=message_id, content_type=None, content_encoding=None)
    assert envelope.event.body == body
    assert envelope.attempt >= 1
    copy = encode(envelope)
    assert not {"CC", "BCC", "x-death"} & set(copy.headers)
    assert decoded(copy.headers, copy.body, copy.content_type, copy.content_encoding).event.id == envelope.event.id


def test_a_foreign_messages_own_id_is_kept_where_valid() -> None:
    def id_of(message_id: str) -> str:
        return decode(body=b"", headers={}, message_id=message_id, content_type=None, content_encoding=None).event.id

    assert id_of("theirs") == "theirs"
    assert id_of("\x00") != "\x00"
    assert id_of("x" * 300) != "x" * 300


def test_a_foreign_messages_extensions_are_kept_as_text() -> None:
    headers = {"cloudEvents:tag": "a", "cloudEvents:sampled": True, "cloudEvents:rank": 7, "cloudEvents:ratio": 0.5}
    event = decoded({**headers, "cloudEvents:specversion": "1.0", "cloudEvents:My-Tag": "b"}, b"", None, None).event
    assert event.extensions == {"tag": "a", "sampled": "true", "rank": "7"}


@given(envelopes)
def test_a_replayed_event_starts_anew(envelope: Envelope) -> None:
    again = restarted(envelope)
    assert (again.attempt, again.failure, again.event) == (1, None, envelope.event)


def test_new_ids_sort_by_time_and_do_not_repeat() -> None:
    ids = [new_event_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(event_id[14] == "7" for event_id in ids)
    assert sorted(event_id[:13] for event_id in ids) == [event_id[:13] for event_id in ids]


def decoded(headers: Any, body: bytes, content_type: str | None, content_encoding: str | None) -> Envelope:
    return decode(
        body=body,
        headers=headers,
        message_id="ignored",
        content_type=content_type,
        content_encoding=content_encoding,
    )
