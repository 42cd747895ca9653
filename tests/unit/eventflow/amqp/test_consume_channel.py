"""Deliveries below the library, and settlements by the library's own methods."""

import asyncio
from types import SimpleNamespace

import pamqp.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from eventflow.amqp.consume_channel import LibraryConsumeChannel, WireConsumeChannel
from eventflow.amqp.wire import HEARTBEAT_FRAME, FrameReader, Wire
from eventflow.errors import DeliveryLostError
from eventflow.message import Envelope

QUEUE = "eventflow.f.events"
OURS, THEIRS = 2, 1


class Reading:
    """A consuming channel below a library that only reads, and the deliveries that it passed on."""

    def __init__(self) -> None:
        wire = Wire()
        self.broker = Broker()
        wire.attach(self.broker)  # type: ignore[arg-type]  # the part of a writer that the wire uses
        self.reader = FrameReader(wire, loop=asyncio.get_running_loop())
        channel = LibraryChannel()
        self.channel = WireConsumeChannel(wire, channel)  # type: ignore[arg-type]  # the part that the wire uses
        self.delivered: list[tuple[int, str, bytes]] = []
        self._started = asyncio.create_task(self.channel.consume(QUEUE, prefetch=10, deliver=self._deliver))

    async def started(self) -> "Reading":
        assert await self._started == QUEUE
        return self

    def _deliver(self, envelope: Envelope, tag: int) -> None:
        self.delivered.append((tag, envelope.event.id, envelope.event.body))


class Broker:
    """Stands for the other end of the socket: it settles its deliveries as RabbitMQ does."""

    def __init__(self) -> None:
        self.unsettled: set[int] = set()
        self.settled: dict[int, str] = {}

    def is_closing(self) -> bool:
        return False

    def write(self, written: bytes) -> None:
        while written:
            length, _, frame = pamqp.frame.unmarshal(written)
            written = written[length:]
            assert isinstance(frame, commands.Basic.Ack | commands.Basic.Nack)
            tag = frame.delivery_tag
            assert tag in self.unsettled, "RabbitMQ closes a channel that settles an unknown tag"
            tags = {each for each in self.unsettled if each <= tag} if frame.multiple else {tag}
            self.unsettled -= tags
            self.settled |= dict.fromkeys(tags, _word_of(frame))


def _word_of(frame: commands.Basic.Ack | commands.Basic.Nack) -> str:
    return "ack" if isinstance(frame, commands.Basic.Ack) else "requeue" if frame.requeue else "dead letter"


class LibraryChannel:
    """Stands for the library's channel, on which a consumer starts at once."""

    number = OURS
    is_closed = False

    async def basic_qos(self, *, prefetch_count: int) -> None:
        assert prefetch_count == 10

    async def basic_consume(self, queue: str, _: object, *, consumer_tag: str) -> SimpleNamespace:
        assert queue == consumer_tag
        return SimpleNamespace(consumer_tag=consumer_tag)


def delivery(tag: int, *parts: bytes) -> list[bytes]:
    """Return the frames of a delivery whose body is split into these parts."""
    properties = commands.Basic.Properties(message_id=f"m-{tag}")
    frames = (
        commands.Basic.Deliver(QUEUE, tag, False, "", QUEUE),
        ContentHeader(body_size=sum(map(len, parts)), properties=properties),
        *map(ContentBody, parts),
    )
    return [pamqp.frame.marshal(frame, OURS) for frame in frames]


THEIR_CONTENT = b"".join(
    pamqp.frame.marshal(frame, THEIRS)
    for frame in (ContentHeader(body_size=2, properties=commands.Basic.Properties()), ContentBody(b"{}"))
)


@given(
    bodies=st.lists(st.lists(st.binary(min_size=1, max_size=20), max_size=3), min_size=1, max_size=5),
    step=st.integers(1, 400),
    data=st.data(),
)
def test_deliveries_are_the_same_however_their_frames_arrive(
    bodies: list[list[bytes]], step: int, data: st.DataObject
) -> None:
    """In one read or in many, with the body in no, one or several frames, and between frames of another channel."""
    mine = [frame for tag, parts in enumerate(bodies, start=1) for frame in delivery(tag, *parts)]
    theirs = b""
    arriving = b""
    for frame in mine:
        other = data.draw(st.sampled_from([b"", THEIR_CONTENT]))
        theirs += other
        arriving += other + frame

    async def play() -> None:
        reading = await Reading().started()
        for start in range(0, len(arriving), step):
            reading.reader.feed_data(arriving[start : start + step])
        assert reading.delivered == [(tag, f"m-{tag}", b"".join(parts)) for tag, parts in enumerate(bodies, start=1)]
        reading.reader.feed_eof()
        assert (await reading.reader.read()).replace(HEARTBEAT_FRAME, b"") == theirs

    asyncio.run(play())


def delivery_to(consumer_tag: str, tag: int) -> list[bytes]:
    """Return the frames of a delivery to another consumer."""
    method = pamqp.frame.marshal(commands.Basic.Deliver(consumer_tag, tag, False, "", QUEUE), OURS)
    return [method, *delivery(tag, b"{}")[1:]]


async def test_a_delivery_of_an_unknown_consumer_ends_nothing() -> None:
    reading = await Reading().started()
    reading.reader.feed_data(b"".join([*delivery_to("unknown", 1), *delivery(2, b"{}")]))
    assert reading.delivered == [(2, "m-2", b"{}")]


SETTLEMENTS = st.sampled_from(["ack", "ack", "ack", "requeue", "dead letter"])


@given(
    ticks=st.lists(st.tuples(st.integers(0, 4), st.lists(st.tuples(st.integers(0, 20), SETTLEMENTS)))),
    torn=st.booleans(),
)
def test_each_delivery_is_settled_as_it_was_asked_for_and_no_other_one(
    ticks: list[tuple[int, list[tuple[int, str]]]], torn: bool
) -> None:
    """An ack of several must neither include a delivery in use, nor one that is settled otherwise in the same tick."""

    async def play() -> None:
        reading = await Reading().started()
        broker, asked, tag = reading.broker, dict[int, str](), 0
        for arrivals, settlements in ticks:
            for _ in range(arrivals):
                tag += 1
                broker.unsettled.add(tag)
                reading.reader.feed_data(b"".join(delivery(tag, b"{}")))
            for position, word in settlements:
                open_tags = sorted(each for each in range(1, tag + 1) if each not in asked)
                if not open_tags:
                    break
                chosen = open_tags[position % len(open_tags)]
                asked[chosen] = word
                if word == "dead letter":
                    reading.channel.dead_letter(chosen)
                else:
                    reading.channel.settle(chosen, requeue=word == "requeue")
            if torn:  # a delivery of which only the first frame has arrived is in use too
                tag += 1
                broker.unsettled.add(tag)
                first, *rest = delivery(tag, b"{}")
                reading.reader.feed_data(first)
                await asyncio.sleep(0)
                assert broker.settled == asked
                reading.reader.feed_data(b"".join(rest))
            await asyncio.sleep(0)
            assert broker.settled == asked

    asyncio.run(play())


async def test_a_delivery_that_could_not_be_passed_on_is_not_acked_with_others() -> None:
    reading = await Reading().started()
    reading.broker.unsettled |= {1, 2, 3}
    reading.reader.feed_data(b"".join([*delivery(1, b"{}"), *delivery_to("unknown", 2), *delivery(3, b"{}")]))
    for tag in (1, 3):
        reading.channel.settle(tag, requeue=False)
    await asyncio.sleep(0)
    assert reading.broker.settled == {1: "ack", 3: "ack"}


async def test_the_acks_of_one_tick_are_one_frame() -> None:
    reading = await Reading().started()
    written: list[bytes] = []
    reading.broker.write = written.append  # type: ignore[method-assign]
    reading.reader.feed_data(b"".join(frame for tag in (1, 2, 3) for frame in delivery(tag, b"{}")))
    for tag in (2, 1, 3):
        reading.channel.settle(tag, requeue=False)
    await asyncio.sleep(0)
    assert written == [pamqp.frame.marshal(commands.Basic.Ack(3, True), OURS)]


async def test_a_retired_channel_passes_on_and_settles_nothing_more() -> None:
    reading = await Reading().started()
    reading.reader.feed_data(b"".join(delivery(1, b"{}")))
    reading.channel.retire()
    reading.reader.feed_data(b"".join([*delivery(2, b"{}"), *delivery(3, b"{", b"}")]))
    assert [tag for tag, _, _ in reading.delivered] == [1]
    assert not reading.channel.is_open
    with pytest.raises(DeliveryLostError):
        reading.channel.settle(1, requeue=False)
    with pytest.raises(DeliveryLostError):
        reading.channel.dead_letter(1)
    close_ok = pamqp.frame.marshal(commands.Channel.CloseOk(), OURS)
    reading.reader.feed_data(close_ok)
    heard = await reading.reader.readexactly(len(close_ok) + len(HEARTBEAT_FRAME))
    assert heard.replace(HEARTBEAT_FRAME, b"") == close_ok, "the library gets no frame of a dropped delivery"


async def test_a_channel_that_the_broker_has_closed_settles_nothing_and_leaves_its_number_to_the_next_one() -> None:
    reading = await Reading().started()
    reading.reader.feed_data(b"".join(delivery(1, b"{}")))
    reading.reader.feed_data(pamqp.frame.marshal(commands.Channel.Close(406, "unknown tag", 0, 0), OURS))
    with pytest.raises(DeliveryLostError):
        reading.channel.settle(1, requeue=False)
    content = b"".join(delivery(1, b"{}"))
    reading.reader.feed_data(content)
    reading.reader.feed_eof()
    assert (await reading.reader.read()).endswith(content), "the library gets the frames of the next channel"


class Channel:
    """Stands for the library's channel, which has room for ten frames and takes no more until the socket does."""

    is_closed = False

    def __init__(self) -> None:
        self.frames: asyncio.Queue[int] = asyncio.Queue(maxsize=10)

    async def basic_ack(self, tag: int, *, wait: bool) -> None:
        assert not wait
        await self.frames.put(tag)


async def test_more_settlements_than_the_library_has_room_for_are_written_in_their_order() -> None:
    """A task that had just begun got the room that another had waited for, which then waited behind all others."""
    channel = Channel()
    consuming = LibraryConsumeChannel(channel)  # type: ignore[arg-type]  # the part that settles
    written: list[int] = []
    for tag in range(50):
        consuming.settle(tag, requeue=False)
    await asyncio.sleep(0)
    for tag in range(50, 100):
        consuming.settle(tag, requeue=False)
        written.append(channel.frames.get_nowait())  # so the task above starts before the one that waits for this room
        await asyncio.sleep(0)
    while len(written) < 100:
        written.append(await channel.frames.get())
    assert written == list(range(100))
