"""Below the library: frames that bypass it, and publishes that are confirmed, refused, returned or given up."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace

import pamqp.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands
from pamqp.base import Frame
from pamqp.body import ContentBody
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from eventflow.amqp import frames
from eventflow.amqp.publish_channel import Publication, WirePublishChannel
from eventflow.amqp.wire import HEARTBEAT_FRAME, FrameReader, Wire
from eventflow.errors import EventFlowError, PublishRefusedError, PublishTimeoutError, UnroutableError
from eventflow.message import Message, new_message_id

OURS, THEIRS = 2, 1


@dataclass
class Socket:
    """The writing half of a connection."""

    written: list[bytes] = field(default_factory=list)
    is_closed: bool = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return self.is_closed


class Bench:
    """A wire between a socket and a library that only reads."""

    def __init__(self, *, on_unroutable: Callable[[], None] = lambda: None) -> None:
        self.socket = Socket()
        self.wire = Wire()
        self.wire.attach(self.socket)  # type: ignore[arg-type]  # the part that the wire uses
        self.reader = FrameReader(self.wire, loop=asyncio.get_running_loop())
        tune = SimpleNamespace(frame_max=4096)
        channel = SimpleNamespace(number=OURS, connection=SimpleNamespace(connection_tune=tune))
        self.publish_channel = WirePublishChannel(self.wire, channel, on_unroutable=on_unroutable)  # type: ignore[arg-type]

    def publish(self, body: bytes = b"{}") -> tuple[Publication, Message]:
        message = Message(body=body, headers={}, message_id=new_message_id())
        publication = Publication(message, "queue")
        self.publish_channel.send(publication)
        return publication, message

    def broker_says(self, *frames: Frame | ContentHeader | ContentBody, channel: int = OURS) -> None:
        self.reader.feed_data(b"".join(pamqp.frame.marshal(frame, channel) for frame in frames))


async def outcome(publication: Publication) -> str:
    try:
        await publication.confirmed(timeout_s=0)
    except EventFlowError as error:
        return type(error).__name__
    return "confirmed"


async def outcomes(*publications: Publication) -> list[str]:
    return [await outcome(publication) for publication in publications]


async def test_what_one_tick_publishes_is_one_write() -> None:
    bench = Bench()
    for _ in range(3):
        bench.publish()
    assert not bench.socket.written
    await asyncio.sleep(0)
    [data] = bench.socket.written
    assert data.count(b"queue") == 3


async def test_a_multiple_confirm_resolves_all_up_to_its_tag_and_no_more() -> None:
    bench = Bench()
    publications = [bench.publish()[0] for _ in range(4)]
    bench.broker_says(commands.Basic.Ack(2))
    assert await outcomes(*publications) == ["PublishTimeoutError", "confirmed", *["PublishTimeoutError"] * 2]
    bench.broker_says(commands.Basic.Ack(3, multiple=True))
    assert await outcomes(*publications) == ["confirmed"] * 3 + ["PublishTimeoutError"]
    bench.broker_says(commands.Basic.Nack(4, multiple=True))
    with pytest.raises(PublishRefusedError):
        await publications[3].confirmed(timeout_s=0)


async def test_callbacks_run_within_the_confirm_in_the_order_of_the_publishes() -> None:
    bench = Bench()
    called: list[int] = []
    for number in range(4):
        bench.publish()[0].on_resolved(partial(called.append, number))
    bench.broker_says(commands.Basic.Ack(2))
    assert called == [1]
    bench.broker_says(commands.Basic.Ack(4, multiple=True), commands.Basic.Ack(4))
    assert called == [1, 0, 2, 3], "each once"


async def test_a_callback_may_publish_at_once() -> None:
    bench = Bench()
    later: list[Publication] = []
    publications = [bench.publish()[0] for _ in range(3)]
    for publication in publications:
        publication.on_resolved(lambda: later.append(bench.publish()[0]))
    bench.broker_says(commands.Basic.Ack(3, multiple=True))
    assert await outcomes(*publications, *later) == ["confirmed"] * 3 + ["PublishTimeoutError"] * 3
    bench.broker_says(commands.Basic.Ack(6, multiple=True))
    assert await outcomes(*later) == ["confirmed"] * 3


async def test_a_returned_message_fails_its_own_publish_though_it_is_acked_next() -> None:
    unroutable: list[bool] = []
    bench = Bench(on_unroutable=lambda: unroutable.append(True))
    first, second = bench.publish(), bench.publish()
    properties = commands.Basic.Properties(message_id=second[1].message_id)
    bench.broker_says(
        commands.Basic.Return(312, "NO_ROUTE", "", "queue"),
        ContentHeader(body_size=2, properties=properties),
        ContentBody(b"{"),
        ContentBody(b"}"),
        commands.Basic.Ack(2, multiple=True),
    )
    assert await outcome(first[0]) == "confirmed"
    with pytest.raises(UnroutableError):
        await second[0].confirmed(timeout_s=0)
    assert unroutable == [True]


async def test_a_returned_message_without_a_body_is_taken_whole() -> None:
    bench = Bench()
    publication, message = bench.publish()
    header = ContentHeader(body_size=0, properties=commands.Basic.Properties(message_id=message.message_id))
    bench.broker_says(commands.Basic.Return(312, "NO_ROUTE", "", "queue"), header, commands.Basic.Ack(1))
    assert await outcome(publication) == "UnroutableError"


async def test_whoever_stops_waiting_neither_undoes_nor_shifts_a_confirm() -> None:
    bench = Bench()
    given_up, other = bench.publish()[0], bench.publish()[0]
    waiting = asyncio.create_task(given_up.confirmed(timeout_s=60))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(PublishTimeoutError):
        await other.confirmed(timeout_s=0.01)
    bench.broker_says(commands.Basic.Ack(1))
    assert await outcomes(given_up, other) == ["confirmed", "PublishTimeoutError"]


async def test_whoever_waits_is_woken_by_the_confirm() -> None:
    bench = Bench()
    publication, _ = bench.publish()
    waiting = [asyncio.create_task(publication.confirmed(timeout_s=60)) for _ in range(2)]
    await asyncio.sleep(0)
    bench.broker_says(commands.Basic.Ack(1))
    async with asyncio.timeout(1):
        await asyncio.gather(*waiting)


async def test_a_closed_socket_is_not_written_to() -> None:
    bench = Bench()
    bench.publish()
    bench.socket.is_closed = True
    await asyncio.sleep(0)
    assert not bench.socket.written


@given(st.lists(st.sampled_from(["confirm", "theirs", "heartbeat", "close"]), max_size=20), st.integers(1, 50))
def test_the_library_gets_every_other_frame_whole_and_in_order(story: list[str], step: int) -> None:
    async def play() -> None:
        bench = Bench()
        read, left = b"", b""
        for number, kind in enumerate(story, start=1):
            frame, channel = {
                "confirm": (commands.Basic.Ack(number), OURS),
                "theirs": (commands.Basic.Ack(number), THEIRS),
                "heartbeat": (Heartbeat(), 0),
                "close": (commands.Channel.Close(406, "why", 0, 0), OURS),
            }[kind]
            data = pamqp.frame.marshal(frame, channel)
            read += data
            left += b"" if kind == "confirm" else data
        for start in range(0, len(read), step):
            bench.reader.feed_data(read[start : start + step])
        bench.reader.feed_eof()
        got = await bench.reader.read()
        if "confirm" in story:  # the library is shown that the connection lives
            assert got.replace(HEARTBEAT_FRAME, b"") == left.replace(HEARTBEAT_FRAME, b"")
        else:
            assert got == left

    asyncio.run(play())


async def test_the_library_is_shown_that_a_connection_lives_whose_frames_pass_it_by() -> None:
    bench = Bench()
    bench.publish()
    bench.broker_says(commands.Basic.Ack(1))
    assert await bench.reader.readexactly(len(HEARTBEAT_FRAME)) == HEARTBEAT_FRAME


async def test_a_server_of_another_protocol_is_left_to_the_library() -> None:
    bench = Bench()
    bench.reader.feed_data(b"AMQP\x00\x00")
    bench.reader.feed_data(b"\x09\x01")
    assert await bench.reader.readexactly(8) == b"AMQP\x00\x00\x09\x01"


async def test_an_alarm_is_noted_and_left_to_the_library() -> None:
    bench = Bench()
    blocked, unblocked = commands.Connection.Blocked("low on memory"), commands.Connection.Unblocked()
    bench.broker_says(blocked, channel=0)
    assert bench.wire.is_blocked
    bench.broker_says(unblocked, channel=0)
    assert not bench.wire.is_blocked
    bench.reader.feed_eof()
    left = b"".join(pamqp.frame.marshal(frame, 0) for frame in (blocked, unblocked))
    assert await bench.reader.read() == left


async def test_a_channel_that_is_closed_for_a_message_too_large_is_written_to_no_more() -> None:
    """A publish on a closed channel would end the connection, so from then on publishes wait for the next channel."""
    bench = Bench()
    bench.publish(b"x" * 20)
    await asyncio.sleep(0)
    reason = "PRECONDITION_FAILED - message size 20 is larger than configured max size 10"
    bench.broker_says(commands.Channel.Close(406, reason, 60, 40))
    bench.publish()
    await asyncio.sleep(0)
    assert len(bench.socket.written) == 1
    assert bench.publish_channel.max_bytes == 10
    assert [len(left.message.body) for left in bench.publish_channel.give_up()] == [20, 2]


@pytest.mark.parametrize(
    ("reason", "limit"),
    [
        ("PRECONDITION_FAILED - message size 400000 is larger than configured max size 300000", 300_000),
        ("PRECONDITION_FAILED - message size 536870913 is larger than max size 536870912", 536_870_912),
        ("PRECONDITION_FAILED - unknown delivery tag 7", None),
        ("", None),
    ],
)
def test_the_brokers_limit_is_read_where_it_says_it(reason: str, limit: int | None) -> None:
    assert frames.message_limit_of(reason) == limit


async def test_a_callback_that_fails_ends_neither_the_reading_nor_the_confirms_of_others() -> None:
    bench = Bench()
    first, second = bench.publish()[0], bench.publish()[0]
    called: list[str] = []
    first.on_resolved(lambda: 1 / 0)
    first.on_resolved(lambda: called.append("first"))
    bench.broker_says(commands.Basic.Ack(2, multiple=True))
    assert await outcomes(first, second) == ["confirmed", "confirmed"]
    assert called == ["first"]
