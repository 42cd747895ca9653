"""Sessions on real connections: what ends one, and what does not."""

import asyncio
import time

import pytest

from eventflow.amqp import consumer as consumers
from eventflow.amqp.channel import closed_channel, open_channel, until_closed
from eventflow.amqp.connection import Connection, close, connect
from eventflow.amqp.consumer import Consumer
from eventflow.amqp.publisher import Publisher
from eventflow.amqp.session import SESSION_PAUSE_S, InUse, keep_connected
from eventflow.amqp.shared import SharedConnection
from eventflow.errors import BrokerUnavailableError
from eventflow.tasks import cancel_and_wait
from eventflow.topology import Lane, flow_specs
from sandbox.ports import free_port
from tests.integration.test_too_large import Held, Nobody
from tests.support.amqp import Amqp
from tests.support.proxy import Proxy
from tests.support.wait import eventually


async def test_a_cancellation_that_becomes_an_error_of_the_connection_still_ends_it(broker_url: str) -> None:
    begun = 0

    async def session(_: Connection) -> None:
        nonlocal begun
        begun += 1
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise BrokerUnavailableError("closed meanwhile") from None  # as the library does

    running = asyncio.create_task(keep_connected([broker_url], name="test", session=session))
    await eventually(lambda: begun == 1, what="the session")
    running.cancel()
    await asyncio.wait({running}, timeout=5)
    assert running.cancelled()
    assert begun == 1


async def test_a_session_that_breaks_is_followed_by_another_on_the_next_url_that_answers(broker_url: str) -> None:
    begun = 0

    async def session(connection: Connection) -> None:
        nonlocal begun
        begun += 1
        if begun < 3:
            await connection.close()
            await open_channel(connection)

    nobody = f"amqp://guest:guest@127.0.0.1:{free_port()}/"
    async with asyncio.timeout(20):
        await keep_connected([nobody, broker_url], name="test", session=session)
    assert begun == 3


async def test_only_the_loss_of_a_connection_that_worked_is_followed_by_a_session_at_once(broker_url: str) -> None:
    begun, failing = list[str](), asyncio.Event()

    async def loses_its_connection(connection: Connection) -> None:
        begun.append("lost")
        if begun.count("lost") == 1:
            async with closed_channel(connection) as watched:
                await until_closed(watched)

    async def fails(_: Connection) -> None:
        begun.append("failed")
        if begun.count("failed") == 1:
            await failing.wait()
            raise BrokerUnavailableError("the connection still works")

    async with asyncio.timeout(30), Proxy(broker_url) as proxy, asyncio.TaskGroup() as sessions:
        sessions.create_task(keep_connected([broker_url], name="failed", session=fails))
        sessions.create_task(keep_connected([proxy.url], name="lost", session=loses_its_connection))
        await eventually(lambda: len(begun) == 2, what="both sessions")
        await asyncio.sleep(SESSION_PAUSE_S)  # a younger connection may have been lost by the broker's own state
        failing.set()
        await asyncio.sleep(SESSION_PAUSE_S / 2)  # with a pause for both, or for neither, that of the first ends first
        proxy.cut()
    assert begun[2:] == ["lost", "failed"]


async def test_a_connection_that_is_lost_at_once_is_followed_by_a_pause(broker_url: str) -> None:
    begun_s = list[float]()

    async def session(connection: Connection) -> None:
        begun_s.append(time.monotonic())
        if len(begun_s) == 1:
            proxy.cut()
            await open_channel(connection)

    async with asyncio.timeout(30), Proxy(broker_url) as proxy:
        await keep_connected([proxy.url], name="test", session=session)
    assert begun_s[1] - begun_s[0] >= SESSION_PAUSE_S


async def test_a_broker_that_another_connection_uses_is_tried_last(broker_url: str) -> None:
    async def session(connection: Connection) -> None:
        used.append(connection.url.host)

    first, second = (broker_url.replace("127.0.0.1", host) for host in ("127.0.0.1", "localhost"))
    assert first != second
    used: list[str | None] = []
    for urls in ([], [first], [first, second]):
        in_use = InUse()
        in_use.urls += urls
        await keep_connected([first, second], name="test", session=session, in_use=in_use)
    assert used == ["127.0.0.1", "localhost", "127.0.0.1"]


async def test_connections_that_start_together_use_different_brokers_if_one_is_down(broker_url: str) -> None:
    async def session(connection: Connection) -> None:
        used.append(connection.url.host)
        await asyncio.sleep(60)

    down = f"amqp://127.0.0.1:{free_port()}/"
    first, second = (broker_url.replace("127.0.0.1", host) for host in ("127.0.0.1", "localhost"))
    used, in_use = list[str | None](), InUse()
    running = [
        asyncio.create_task(keep_connected(urls, name="test", session=session, in_use=in_use))
        for urls in ([down, first, second], [first, second, down])
    ]
    try:
        await eventually(lambda: len(used) == 2, what="both connections")
        assert set(used) == {"127.0.0.1", "localhost"}
    finally:
        await cancel_and_wait(*running)


@pytest.mark.timeout(60)
async def test_a_silent_broker_is_noticed_as_soon_as_a_silent_client(broker_url: str) -> None:
    """A broker without power says nothing. The library alone noticed it after 33 to 38 s, RabbitMQ after 20 s."""
    async with Proxy(broker_url) as proxy:
        connection = await connect(proxy.url, name="test")
        with proxy.stalled(to_broker=False):
            await eventually(lambda: connection.wire.is_lost, within_s=25, what="a lost connection")
    await close(connection)


async def test_a_publisher_whose_exchange_was_deleted_starts_anew_and_declares_it_again(
    broker_url: str, flow: str, amqp: Amqp
) -> None:
    exchange = f"eventflow.{flow}.fanout"
    publisher = Publisher([broker_url], specs=[], name="test", fanouts=[exchange])
    running = asyncio.create_task(publisher.run())
    try:
        await eventually(lambda: publisher.state == "up", what="the publisher")
        async with amqp.connection.channel() as channel:
            await channel.exchange_delete(exchange)
        publisher.broadcast(b"{}", exchange=exchange)
        await eventually(lambda: publisher.state == "down", what="the end of the session")
        await eventually(lambda: publisher.state == "up", what="the next session")
        async with amqp.connection.channel() as channel:
            await channel.get_exchange(exchange, ensure=True)
            await channel.exchange_delete(exchange)
    finally:
        running.cancel()
        await asyncio.wait({running})


async def test_a_listener_that_takes_no_broadcasts_keeps_nobody_from_publishing(
    broker_url: str, flow: str, amqp: Amqp
) -> None:
    """RabbitMQ nacks a broadcast for a listener on a node that is cut off, as it does for a full queue."""
    exchange = f"eventflow.{flow}.fanout"
    publisher = Publisher([broker_url], specs=[], name="test", fanouts=[exchange])
    async with amqp.connection.channel() as channel:
        fanout = await channel.declare_exchange(exchange, "fanout", durable=True)
        full = {"x-max-length": 0, "x-overflow": "reject-publish"}
        listener = await channel.declare_queue(f"{exchange}.full", exclusive=True, arguments=full)
        await listener.bind(fanout)
        running = asyncio.create_task(publisher.run())
        try:
            await eventually(lambda: publisher.state == "up", within_s=5, what="the publisher")
        finally:
            await cancel_and_wait(running)
            await fanout.delete()


async def test_a_session_that_ends_while_its_consumer_is_closed_ends_nothing_else(
    broker_url: str, flow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error ended the drain of a processor, in the other flows too."""
    publisher = Publisher([broker_url], specs=[], name="publish")
    shared = SharedConnection([broker_url], name="consume")
    consumer = Consumer(
        shared.seat(name="consume"),
        flow=flow,
        specs=flow_specs(flow, (1,)),
        prefetch=dict.fromkeys(Lane, 10),
        sink=Held(),
        publisher=publisher,
        listener=Nobody(),
        held_max_s=60,
    )
    connected = [asyncio.create_task(publisher.run()), asyncio.create_task(shared.run())]
    consuming = asyncio.create_task(consumer.run())

    async def session_ends(*_: object, **__: object) -> bool:
        await cancel_and_wait(consuming)
        return True

    monkeypatch.setattr(consumers, "wait_for_consumers", session_ends)
    try:
        await eventually(lambda: len(consumer._consumers) == len(Lane), what="the consumers counted")
        await consumer.stop()
        await consumer.close()
    finally:
        await cancel_and_wait(consuming, *connected)
