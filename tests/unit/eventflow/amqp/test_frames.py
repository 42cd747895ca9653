"""The frames that we write ourselves are those that a library of the protocol would write, and reads."""

import struct
import time
from datetime import UTC, datetime

import pamqp.frame
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from eventflow.amqp import frames
from eventflow.amqp.templates import MessageReader
from eventflow.message import ATTEMPT, ID, SOURCE, TYPE, Message, encode
from tests.support.tables import entry, long, nested, short

FRAME_MAX = 4096
SHORT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=32)
"""As long as AMQP allows: the library cuts a name after 128 bytes."""

HEADERS = st.dictionaries(
    st.sampled_from([ID, SOURCE, TYPE, ATTEMPT]) | NAMES, SHORT | st.integers(-(2**31), 2**31 - 1), max_size=8
)


def read(data: bytes) -> list[object]:
    """Take frames apart by the library; all must be of channel 7."""
    read_frames = []
    while data:
        size, channel, frame = pamqp.frame.unmarshal(data)
        assert channel == 7
        read_frames.append(frame)
        data = data[size:]
    return read_frames


@given(
    body=st.binary(max_size=3 * FRAME_MAX),
    headers=HEADERS,
    content_type=st.none() | SHORT,
    content_encoding=st.none() | SHORT,
    queue=SHORT,
)
def test_a_publish_is_read_as_what_was_written(
    body: bytes, headers: dict[str, str | int], content_type: str | None, content_encoding: str | None, queue: str
) -> None:
    message = Message(
        body=body,
        headers=headers,
        content_type=content_type,
        content_encoding=content_encoding,
        message_id="m" * 32,
    )
    method, header, *bodies = read(frames.publish_frames(message, queue=queue, channel=7, frame_max=FRAME_MAX))
    assert isinstance(method, commands.Basic.Publish)
    assert (method.exchange, method.routing_key, method.mandatory, method.immediate) == ("", queue, True, False)
    assert isinstance(header, ContentHeader)
    properties = header.properties
    assert header.body_size == len(body)
    assert properties.headers == headers
    assert (properties.content_type, properties.content_encoding) == (content_type, content_encoding)
    assert (properties.delivery_mode, properties.message_id) == (2, "m" * 32)
    assert all(isinstance(part, ContentBody) and len(part.value) <= FRAME_MAX - 8 for part in bodies)
    assert b"".join(part.value for part in bodies if isinstance(part, ContentBody)) == body


@given(st.integers(1, 2**63 - 1), st.booleans(), st.booleans())
def test_confirms_are_read_as_the_broker_writes_them(tag: int, multiple: bool, is_ack: bool) -> None:
    method = commands.Basic.Ack(tag, multiple) if is_ack else commands.Basic.Nack(tag, multiple, requeue=False)
    payload = pamqp.frame.marshal(method, 7)[7:-1]
    assert frames.method_of(payload) == (frames.ACK if is_ack else frames.NACK)
    assert frames.confirm_of(payload) == (tag, multiple)


@given(st.integers(1, 2**63 - 1))
def test_settlements_are_read_as_what_was_written(tag: int) -> None:
    [ack] = read(frames.ack_frames([tag], oldest_unsettled=1, channel=7))
    [requeue] = read(frames.requeue_frame(tag, channel=7))
    [dead_letter] = read(frames.dead_letter_frame(tag, channel=7))
    assert isinstance(ack, commands.Basic.Ack)
    assert (ack.delivery_tag, ack.multiple) == (tag, False)
    for nack, is_requeued in ((requeue, True), (dead_letter, False)):
        assert isinstance(nack, commands.Basic.Nack)
        assert (nack.delivery_tag, nack.multiple, nack.requeue) == (tag, False, is_requeued)


@pytest.mark.parametrize(
    ("tags", "oldest_unsettled", "acks"),
    [
        ([1], None, [(1, True)]),
        ([3, 1, 2], None, [(3, True)]),
        ([3, 1, 2], 4, [(3, True)]),
        ([5, 1, 2], 3, [(5, False), (2, True)]),
        ([5, 4], 3, [(5, False), (4, False)]),
    ],
)
def test_one_ack_settles_all_deliveries_that_are_older_than_every_unsettled_one(
    tags: list[int], oldest_unsettled: int | None, acks: list[tuple[int, bool]]
) -> None:
    written = read(frames.ack_frames(tags, oldest_unsettled=oldest_unsettled, channel=7))
    assert [(ack.delivery_tag, ack.multiple) for ack in written if isinstance(ack, commands.Basic.Ack)] == acks


@given(
    headers=HEADERS,
    content_type=st.none() | SHORT,
    content_encoding=st.none() | SHORT,
    foreign=st.sampled_from([{}, {"x-death": [{"count": 3}]}, {"flag": True}, {"half": 0.5}, {"none": None}]),
    number=st.integers(-(2**63), 2**63 - 1),
    user_id=st.none() | SHORT,
    priority=st.none() | st.integers(0, 9),
    timestamp=st.none() | st.integers(0, 2**32 - 1).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
)
def test_properties_are_read_as_the_library_wrote_them(
    headers: dict,
    content_type: str | None,
    content_encoding: str | None,
    foreign: dict,
    number: int,
    user_id: str | None,
    priority: int | None,
    timestamp: datetime | None,
) -> None:
    properties = commands.Basic.Properties(
        content_type=content_type,
        content_encoding=content_encoding,
        headers={**foreign, **headers, "number": number},
        priority=priority,
        correlation_id=user_id,
        message_id="m",
        timestamp=timestamp,
        user_id=user_id,
    )
    written = pamqp.frame.marshal(ContentHeader(body_size=5, properties=properties), 7)[7:-1]
    found = frames.properties_of(written)
    booleans = {name: value for name, value in foreign.items() if isinstance(value, bool)}
    assert found.headers == {**booleans, **headers, "number": number}, "strings, booleans, whole numbers, nothing else"
    assert found.timestamp == timestamp
    assert (found.content_type, found.content_encoding, found.message_id) == (content_type, content_encoding, "m")
    assert frames.body_bytes_of(written) == 5


@given(st.binary(max_size=60), st.integers(0, 2**16 - 1) | st.sampled_from([0xF080, 0x2000, 0x3080]))
def test_properties_that_make_no_sense_crash_nothing(junk: bytes, flags: int) -> None:
    frames.properties_of(b"\x00\x3c\x00\x00" + bytes(8) + flags.to_bytes(2, "big") + junk)


def test_a_delivery_is_read_as_the_broker_writes_it() -> None:
    method = commands.Basic.Deliver("eventflow.f.events", 2**40, False, "", "eventflow.f.events")
    assert frames.deliver_of(pamqp.frame.marshal(method, 7)[7:-1]) == (b"eventflow.f.events", 2**40)


def header_of(*parts: bytes, flags: int, body_bytes: int = 5) -> bytes:
    return struct.pack(">HHQH", 60, 0, body_bytes, flags) + b"".join(parts)


HEADERS_AND_ID, ALL_KNOWN, MORE = 0x2080, 0xFFC0, 1
NUMBERS = st.sampled_from([(b"b", 1), (b"B", 1), (b"s", 2), (b"u", 2), (b"I", 4), (b"i", 4), (b"l", 8), (b"L", 8)])
OTHERS = st.sampled_from([(b"t", 1), (b"f", 4), (b"d", 8), (b"D", 5), (b"T", 8), (b"V", 0), (b"\0", 0), (b"Z", 3)])
FIXED = (NUMBERS | OTHERS).flatmap(
    lambda kind: st.tuples(st.just(kind[0]), st.binary(min_size=kind[1], max_size=kind[1]))
)
LENGTHS = st.none() | st.integers(0, 2**32 - 1)


def measured(kind: bytes, data: st.SearchStrategy[bytes]) -> st.SearchStrategy[tuple[bytes, bytes]]:
    """Values with a length, which now and then lies."""
    return st.tuples(data, LENGTHS).map(
        lambda drawn: (kind, long(drawn[0]) if drawn[1] is None else struct.pack(">I", drawn[1]) + drawn[0])
    )


NAME = st.binary(max_size=20) | st.sampled_from([ID.encode(), ATTEMPT.encode(), b"traceparent", b"\xff", b""])
VALUE = st.recursive(
    FIXED | measured(b"S", st.binary(max_size=300)) | measured(b"x", st.binary(max_size=20)),
    lambda inner: (
        measured(
            b"F",
            st.lists(st.tuples(NAME, inner), max_size=3).map(lambda pairs: b"".join(entry(n, *v) for n, v in pairs)),
        )
        | measured(b"A", st.lists(inner, max_size=3).map(lambda values: b"".join(kind + data for kind, data in values)))
    ),
    max_leaves=12,
)
TABLE = st.lists(st.tuples(NAME, VALUE), max_size=8).map(lambda pairs: b"".join(entry(n, *v) for n, v in pairs))


@st.composite
def content_headers(draw: st.DrawFn) -> bytes:
    """Content headers of any publisher: any properties and values, cut off or with wrong lengths."""
    flags = draw(st.sampled_from([HEADERS_AND_ID, ALL_KNOWN]) | st.integers(0, 2**16 - 1))
    parts = [draw(st.binary(min_size=2, max_size=2))] if flags & MORE else []
    for bit in range(15, 1, -1):
        if flags & 1 << bit:
            match bit:
                case 13:
                    _, written = draw(measured(b"F", TABLE))
                    parts.append(written)
                case 12 | 11:
                    parts.append(draw(st.binary(min_size=1, max_size=1)))
                case 6:
                    parts.append(draw(st.binary(min_size=8, max_size=8)))
                case _:
                    parts.append(short(draw(st.binary(max_size=255))))
    whole = header_of(*parts, flags=flags)
    return whole[: draw(st.integers(14, len(whole)) | st.just(len(whole)))]


NESTED_500 = header_of(
    long(entry(ID.encode(), b"S", long(b"e-1")) + entry(b"deep", b"F", nested(500))),
    short(b"m-1"),
    flags=HEADERS_AND_ID,
)


@given(content_headers())
@example(NESTED_500)
def test_any_content_header_is_read_as_that_of_an_event(header: bytes) -> None:
    reader = MessageReader()
    envelope = reader.read(header, b"body")
    assert reader.read(header, b"body").event.source == envelope.event.source, "also if the first is its template"
    assert envelope.event.body == b"body"
    assert envelope.event.id
    assert envelope.attempt >= 1
    assert encode(envelope).body == b"body", "a copy of it can be made"
    assert isinstance(frames.publish_frames(encode(envelope), queue="q", channel=1, frame_max=FRAME_MAX), bytes), (
        "and published"
    )


@given(content_headers())
@example(NESTED_500)
def test_any_content_header_is_given_to_the_library_as_one_that_it_reads(header: bytes) -> None:
    written = frames.for_library(frames.HEADER, header)
    content = ContentHeader()
    content.unmarshal(written)
    assert content.body_size == frames.body_bytes_of(header)
    before, after = frames.properties_of(header), frames.properties_of(written)
    ours = {name: value for name, value in before.headers.items() if name in {ID, ATTEMPT} and isinstance(value, str)}
    assert {name: after.headers[name] for name in ours} == ours


def test_the_library_gets_large_headers_of_ours_with_the_deaths_that_the_broker_has_added() -> None:
    """Otherwise `eventflow dead` could not show why the broker has given up an event with long attributes."""
    headers = {
        "cloudEvents:subject": "s" * 4096,
        "eventflow-forwarded": "{" * 16_384,
        "x-death": [{"reason": "maxlen"}],
    }
    properties = commands.Basic.Properties(headers={**headers, **{f"cloudEvents:e{n}": "e" * 100 for n in range(64)}})
    written = pamqp.frame.marshal(ContentHeader(body_size=5, properties=properties), 7)[7:-1]
    assert frames.for_library(frames.HEADER, written) is written


def test_nested_headers_hide_nothing_that_stands_beside_them() -> None:
    """Reproduced on 0.1.0: a message with headers of 500 nested tables ended every session that met it."""
    read = frames.properties_of(NESTED_500)
    assert (read.headers, read.message_id) == ({ID: "e-1"}, "m-1")


@pytest.mark.parametrize("value", [entry(b"", b"V", b"") * 40_000, entry(b"n", b"F", nested(10_000)), b"\0\0" * 60_000])
def test_headers_of_a_whole_frame_are_read_at_once(value: bytes) -> None:
    header = header_of(long(value), short(b"m"), flags=HEADERS_AND_ID)
    began_s = time.process_time()  # not that of other processes
    assert frames.properties_of(header).message_id == "m"
    frames.for_library(frames.HEADER, header)
    assert time.process_time() - began_s < 0.5


@given(exchange=st.binary(max_size=255), key=st.binary(max_size=255))
def test_deliveries_are_given_to_the_library_with_names_that_it_reads(exchange: bytes, key: bytes) -> None:
    written = struct.pack(">HH", 60, 60) + short(b"tag") + struct.pack(">QB", 7, 1) + short(exchange) + short(key)
    readable = frames.for_library(frames.METHOD, written)
    _, _, method = pamqp.frame.unmarshal(struct.pack(">BHI", 1, 1, len(readable)) + readable + b"\xce")
    assert isinstance(method, commands.Basic.Deliver)
    assert (method.consumer_tag, method.delivery_tag, method.redelivered) == ("tag", 7, True)


@pytest.mark.parametrize("kept_bytes", range(20))
def test_a_close_that_is_cut_off_has_an_empty_reason_or_a_part_of_it(kept_bytes: int) -> None:
    """Found in review: an IndexError, logged with a traceback as a fatal error of the transport."""
    whole = frames.CONNECTION_CLOSE + struct.pack(">HB", 530, 9) + b"not there" + bytes(4)
    assert "not there".startswith(frames.close_reason_of(whole[:kept_bytes]))
