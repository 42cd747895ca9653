"""Transport between the processors of a flow, and from an operator to them.

Processors broadcast over one fanout exchange, and each has an exclusive queue there. A fanout keeps nothing for
processors that join later, so each repeats its state every second. No event depends on these messages: a processor that
receives none acts on its own observations.

The overrides of an operator are kept in a stream for each flow, and the last message counts. A processor that cannot
receive overrides must stop sending. So it checks every second that the broker still reads the streams for it, and each
answer renews a lease of 3 s. If several brokers are named, it reads them over two connections to different brokers, and
an answer on either suffices (ADR 46).
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn

import structlog

from eventflow.amqp.channel import cancellation_of, open_channel, until_cancelled, until_closed
from eventflow.amqp.connection import Connection
from eventflow.amqp.fanout import consume_fanout, declare_fanout
from eventflow.amqp.publisher import Publisher
from eventflow.amqp.queues import declare_queues
from eventflow.amqp.session import InUse, keep_connected
from eventflow.amqp.streams import StreamReader
from eventflow.control.lease import ControlLease
from eventflow.control.messages import Broadcast, ControlMessage, Ignored, decode, encode
from eventflow.control.newest import EMPTY_OFFSET, NewestOverrides, Reader
from eventflow.control.overrides import InvalidOverridesError, Overrides, decode_overrides
from eventflow.errors import BrokerUnavailableError
from eventflow.tasks import first_of
from eventflow.topology import CONTROL_EXCHANGE, control_queue, overrides_queue, overrides_spec

LOOK_EVERY_S = 1.0

BEHIND_MAX_S = 10.0
"""Time after which a reader that lacks overrides which the other one has received begins anew, on another broker."""

EMPTY_STREAM_S = 0.2
"""Time to wait at the start for overrides if the broker counts none, because it counts with a delay of seconds."""

PeerListener = Callable[[Broadcast], None]

log = structlog.stdlib.get_logger()


class ControlBus:
    """One process on the control exchange, and on the streams of overrides.

    Attributes:
        instance: Name of this process among its peers.
        lease: Held while no override can be missed: after the overrides of every flow have been received.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        instance: str,
        publisher: Publisher,
        on_ignored: Callable[[Ignored], None] = lambda _: None,
    ) -> None:
        """Register listeners before `run`, which connects.

        Args:
            instance: Name of this process among its peers; at most 200 bytes.
            publisher: Publishes the broadcasts on its own connection: nothing is published on a consuming one.
            on_ignored: Called for each body that cannot be used.
        """
        self._urls = urls
        self._publisher = publisher
        self._on_ignored = on_ignored
        self._peer_listeners: defaultdict[str, list[PeerListener]] = defaultdict(list)
        self._peers_missed_listeners: list[Callable[[], None]] = []
        self._override_listeners: defaultdict[str, list[Callable[[Overrides], None]]] = defaultdict(list)
        self._known_flows: set[str] = set()  # flows with overrides that the listeners have received
        self._newest = NewestOverrides(self._apply)
        self._sessions = 0
        self.instance = instance
        self.lease = ControlLease()

    def on_peer_message(self, flow: str, listener: PeerListener) -> None:
        """Call `listener` with each broadcast of another process about `flow`."""
        self._peer_listeners[flow].append(listener)

    def on_peers_missed(self, listener: Callable[[], None]) -> None:
        """Call `listener` when broadcasts of other processes could have been missed: at the end of each session."""
        self._peers_missed_listeners.append(listener)

    def on_overrides(self, flow: str, listener: Callable[[Overrides], None]) -> None:
        """Call `listener` with the overrides of `flow`: those in force, again at a reconnect, and each change."""
        self._override_listeners[flow].append(listener)

    def broadcast(self, flow: str, message: ControlMessage) -> None:
        """Send a message to the other processes if the broker is available; it is repeated anyway."""
        body = encode(Broadcast(flow=flow, sender=self.instance, message=message))
        try:
            self._publisher.broadcast(body, exchange=CONTROL_EXCHANGE)
        except BrokerUnavailableError as error:
            log.debug("control.not_broadcast", flow=flow, reason=str(error))

    async def run(self) -> None:
        """Stay connected and receive until cancelled."""
        in_use = InUse()
        sessions = [keep_connected(self._urls, name=f"{self.instance} control", session=self._control, in_use=in_use)]
        if len(self._urls) > 1:
            rotated, name = [*self._urls[1:], self._urls[0]], f"{self.instance} overrides"
            sessions.append(keep_connected(rotated, name=name, session=self._follow_overrides, in_use=in_use))
        await first_of(*sessions)

    async def _control(self, connection: Connection) -> None:
        """Pass the broadcasts of other processes to their listeners, and follow the overrides."""
        await self._publisher.may_publish()
        channel = await open_channel(connection)
        cancellation = cancellation_of(channel)
        await declare_fanout(channel, CONTROL_EXCHANGE)
        # A new name for each session: the broker may keep the queue of a lost connection for two missed heartbeats.
        self._sessions += 1
        queue = control_queue(self.instance if self._sessions == 1 else f"{self.instance}.{self._sessions}")
        await consume_fanout(channel, queue, exchange=CONTROL_EXCHANGE, on_body=self._receive)
        try:
            await first_of(until_closed(channel), until_cancelled(cancellation), self._follow_overrides(connection))
        finally:
            for listener in self._peers_missed_listeners:
                listener()

    async def _follow_overrides(self, connection: Connection) -> None:
        """Pass the overrides of each flow to its listeners, and renew the lease as long as none can be missed."""
        await self._publisher.may_publish()
        flows = tuple(self._override_listeners)
        await declare_queues(connection, [overrides_spec(flow) for flow in flows])
        streams = StreamReader(await open_channel(connection))
        reader = self._newest.begin()
        try:
            await streams.start()
            await asyncio.gather(*(self._follow(streams, reader, flow) for flow in flows))
            # The first check grants the lease, and by now the overrides of all flows are known.
            await first_of(streams.until_ended(), self._check_regularly(streams, reader))
        finally:
            self._newest.end(reader, is_cancelled=streams.is_cancelled)

    async def _check_regularly(self, streams: StreamReader, reader: Reader) -> NoReturn:
        """Check every second that the broker answers on the channel that delivers the overrides.

        While the broker refuses the broadcasts of this process, an answer renews no lease: peers would miss its pauses.
        """
        loop = asyncio.get_running_loop()
        current_s = loop.time()
        while self._newest.has(reader):
            began_s = loop.time()
            await streams.check()
            if self._newest.is_current(reader):
                current_s = began_s
                if self._publisher.state != "refused":
                    self.lease.extend(began_s)
            elif began_s - current_s > BEHIND_MAX_S:
                raise BrokerUnavailableError(f"overrides that another broker has delivered are {BEHIND_MAX_S:g} s late")
            await asyncio.sleep(LOOK_EVERY_S)
        raise BrokerUnavailableError(
            "another connection that reads the overrides has ended, and they must be read anew"
        )

    async def _follow(self, streams: StreamReader, reader: Reader, flow: str) -> None:
        await streams.follow(
            overrides_queue(flow),
            on_message=partial(self._newest.deliver, reader, flow),
            on_empty=partial(self._newest.deliver, reader, flow, EMPTY_OFFSET, None),
            silence_s=EMPTY_STREAM_S,
        )

    def _apply(self, flow: str, body: bytes | None) -> None:
        """Pass a document to the listeners, which may have received it before: then it changes nothing."""
        if body is None:
            # After a reconnect an empty stream changes nothing: it may have been deleted, and the overrides remain.
            if flow in self._known_flows:
                return
            overrides = Overrides()
        else:
            try:
                overrides = decode_overrides(body)
            except InvalidOverridesError as error:
                log.error("control.overrides_invalid", flow=flow, reason=str(error))  # noqa: TRY400 - the reason suffices
                return
        self._known_flows.add(flow)
        for listener in self._override_listeners[flow]:
            listener(overrides)

    def _receive(self, body: bytes) -> None:
        match decode(body):
            case Broadcast() as received:
                if received.sender != self.instance:  # a fanout delivers to its publisher too
                    for listener in self._peer_listeners.get(received.flow, ()):
                        listener(received)
            case Ignored() as reason:
                # A peer of a later version repeats a new kind every second, which is no reason to worry.
                log_it = log.debug if reason is Ignored.UNKNOWN_KIND else log.warning
                log_it("control.message_ignored", reason=reason.value, body_bytes=len(body))
                self._on_ignored(reason)
