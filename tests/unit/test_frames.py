"""The frames that we write ourselves are those that a library of the protocol would write, and reads."""

import pamqp.frame
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from eventflow import frames
from eventflow.message import Message

FRAME_MAX = 4096
SHORT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=32)
"""As long as AMQP allows: the library cuts a name after 128 bytes."""

HEADERS = st.dictionaries(NAMES, SHORT | st.integers(-(2**31), 2**31 - 1), max_size=8)


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
    number = frames.method_of(payload)
    assert number == (frames.ACK if is_ack else frames.NACK)
    assert number is not None
    assert frames.confirm_of(payload, number) == frames.Confirm(tag=tag, multiple=multiple, is_ack=is_ack)


@given(st.integers(1, 2**63 - 1), st.booleans())
def test_settlements_are_read_as_what_was_written(tag: int, requeue: bool) -> None:
    [frame] = read(frames.settle_frame(tag, channel=7, requeue=requeue))
    assert isinstance(frame, commands.Basic.Nack if requeue else commands.Basic.Ack)
    assert frame.delivery_tag == tag
    assert not frame.multiple
    assert not isinstance(frame, commands.Basic.Nack) or frame.requeue


def test_methods_of_other_classes_are_not_ours() -> None:
    assert frames.method_of(pamqp.frame.marshal(commands.Channel.Close(200, "", 0, 0), 7)[7:-1]) is None


@given(
    headers=HEADERS,
    content_type=st.none() | SHORT,
    content_encoding=st.none() | SHORT,
    foreign=st.sampled_from([{}, {"x-death": [{"count": 3}]}, {"flag": True}, {"long": 2**40}]),
    user_id=st.none() | SHORT,
)
def test_properties_are_read_as_the_library_wrote_them(
    headers: dict, content_type: str | None, content_encoding: str | None, foreign: dict, user_id: str | None
) -> None:
    properties = commands.Basic.Properties(
        content_type=content_type,
        content_encoding=content_encoding,
        headers={**headers, **foreign},
        message_id="m",
        user_id=user_id,
    )
    written = pamqp.frame.marshal(ContentHeader(body_size=5, properties=properties), 7)[7:-1]
    found = frames.properties_of(written)
    assert found.headers == {**headers, **foreign}
    assert (found.content_type, found.content_encoding, found.message_id) == (content_type, content_encoding, "m")
    assert frames.body_bytes_of(written) == 5


@given(st.binary(max_size=60), st.integers(0, 2**16 - 1) | st.sampled_from([0xF080, 0x2000, 0x3080]))
def test_properties_that_make_no_sense_crash_nothing(junk: bytes, flags: int) -> None:
    frames.properties_of(b"\x00\x3c\x00\x00" + bytes(8) + flags.to_bytes(2, "big") + junk)


def test_a_delivery_is_read_as_the_broker_writes_it() -> None:
    method = commands.Basic.Deliver("eventflow.f.events", 2**40, False, "", "eventflow.f.events")
    assert frames.deliver_of(pamqp.frame.marshal(method, 7)[7:-1]) == ("eventflow.f.events", 2**40)
