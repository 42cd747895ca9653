"""Consuming a flow: deliveries come in by lane, and here alone they are settled.

A delivery is settled only after its outcome is safe: the target took it, or the copy in a retry queue or the dead queue
is confirmed. A crash at any point duplicates and never loses.
"""

import asyncio
import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NoReturn, Protocol, assert_never

import structlog
from aiormq import Channel

from eventflow.amqp.channel import answered, cancellation_of, is_missing, open_channel, until_cancelled, until_closed
from eventflow.amqp.connection import Connection
from eventflow.amqp.consume_channel import ConsumeChannel, consume_channel_on
from eventflow.amqp.presence import Presence
from eventflow.amqp.proofs import prove_majority
from eventflow.amqp.publish_channel import Publication
from eventflow.amqp.publisher import Publisher
from eventflow.amqp.queues import QueueDepth, declare_queues, find_missing, measure, wait_for_consumers
from eventflow.amqp.session import keep_connected
from eventflow.delivery import Delivery, Held
from eventflow.errors import (
    BrokerUnavailableError,
    DeliveryLostError,
    MessageTooLargeError,
    PublishError,
    PublishTimeoutError,
)
from eventflow.message import Envelope, Message, encode
from eventflow.outcome import CONFIRM_MAX_S, TOO_LARGE, Copied, DeadLetter, Defer, Retry
from eventflow.tasks import first_of, lease_clock
from eventflow.telemetry.logging import shown_id
from eventflow.topology import Lane, QueueSpec, dead_queue, lane_queue, lease_queue, retry_queue

REPUBLISH_PAUSE_MAX_S = 2.0

POLL_S = 1.0
UNCOUNTED_MAX = 3
"""So many looks in a row that miss our own consumer mean that it is gone, whatever the broker has told us."""

SETTLED_MAX_S = 2.0
STOP_MAX_S = 2.0
"""How long a stop waits for a broker that may be frozen."""

log = structlog.stdlib.get_logger()


class Sink(Protocol):
    """Where deliveries go: it takes each at once and never blocks."""

    def put(self, delivery: Delivery) -> None:
        """Keep `delivery` until it is its turn."""


class MembershipListener(Protocol):
    """Who is told how the consuming goes."""

    def joined(self) -> None:
        """Note that every lane has its consumer now: one of ours, beside those of the other processors."""

    def looked(self, lane: Lane, depth: QueueDepth, *, began_s: float) -> None:
        """Note what a look at a lane's queue found; one a second.

        Args:
            began_s: The `lease_clock`'s time before which a majority of the brokers answered last.
        """

    def left(self) -> None:
        """Note that our consumers are gone, until `joined`."""

    def stuck(self, deliveries: int) -> None:
        """Note that so many deliveries were held for longer than any may be, and that the session ends of it."""


class Consumer:
    """Consumes the lanes of one flow on a connection of its own.

    Exactly one consumer on the events queue for its whole life: their number is the number of processors.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        flow: str,
        specs: Sequence[QueueSpec],
        prefetch: Mapping[Lane, int],
        sink: Sink,
        publisher: Publisher,
        listener: MembershipListener,
        held_max_s: float,
        name: str,
        presence: Presence | None = None,
    ) -> None:
        """Prepare; nothing connects before `run`.

        Args:
            held_max_s: How long a delivery may be unsettled. One that is held longer is stuck in this process, so the
                session ends, and the broker hands it out again.
            specs: Queues to declare before consuming.
            prefetch: Unsettled deliveries to hold, by lane.
            publisher: Publishes copies, on its own connection.
            listener: Told of our consumers, and every second of each lane's queue.
            name: Shown in the management UI.
            presence: Learns which queues exist, and reports those that vanish.
        """
        self._urls = urls
        self._presence = presence or Presence()
        self._flow = flow
        self._specs = specs
        self._prefetch = prefetch
        self._sink = sink
        self._publisher = publisher
        self._listener = listener
        self._held_max_s = held_max_s
        self._held: Held = {}
        self._name = name
        self._connection: Connection | None = None
        self._channel: Channel | None = None
        self._consumers: dict[Lane, int] = {}
        self._tags: list[str] = []
        self._unverified: tuple[str, ...] = ()  # queues whose arguments we were not allowed to see
        self._cancelled = asyncio.Event()
        self._stopping = False
        self._is_silent = False  # the broker did not answer the stop

    @property
    def is_consuming(self) -> bool:
        """Whether every lane has its consumer now."""
        return self._channel is not None and not self._channel.is_closed and not self._cancelled.is_set()

    @property
    def held(self) -> int:
        """Deliveries that are not settled yet."""
        return len(self._held)

    async def run(self) -> None:
        """Stay connected and consume; returns after `stop` and `close`, and can then be called again.

        Raises:
            TopologyMismatchError: A queue exists with other arguments.
        """
        self._stopping = False
        await keep_connected(self._urls, name=self._name, session=self._session)

    async def stop(self) -> None:
        """Take no more deliveries. What was delivered before this returns can still be settled."""
        self._stopping = True
        if self._channel is None:
            return
        cancels = asyncio.gather(
            *(answered("cancel a consumer", self._channel.basic_cancel(tag)) for tag in self._tags),
            return_exceptions=True,
        )
        # Left alone when its time is up: the library would close the channel, and settlements to come be lost.
        done, _ = await asyncio.wait({cancels}, timeout=STOP_MAX_S)
        self._is_silent = not done
        failures = (
            ["no answer"] if self._is_silent else [str(e) for e in cancels.result() if isinstance(e, BaseException)]
        )
        if failures:
            log.debug("consumer.cancel_failed", flow=self._flow, reason=failures[0])
        self._listener.left()  # now and not at the end of the session: the others have our share from here on

    async def close(self) -> None:
        """Close the channel once the queues have taken what was settled, so that a clean stop repeats no event."""
        if self._channel is None or self._connection is None or self._is_silent:
            return
        waits = [
            wait_for_consumers(
                self._connection, lane_queue(self._flow, lane), at_most=consumers - 1, timeout_s=SETTLED_MAX_S
            )
            for lane, consumers in self._consumers.items()
        ]
        try:
            async with asyncio.timeout(SETTLED_MAX_S + STOP_MAX_S):
                await asyncio.gather(*waits)
                await answered("close the channel", self._channel.close())
        except (BrokerUnavailableError, TimeoutError) as error:
            log.debug("consumer.close_failed", flow=self._flow, reason=str(error) or "no answer")

    async def settle(self, delivery: Delivery, outcome: Copied) -> Copied:
        """Publish the copy of a delivery, ack it when the copy is confirmed, and return the outcome in the end.

        If the copy is not confirmed within 45 s, the delivery is requeued; a confirm that comes later duplicates it. If
        the copy is too large for the broker, a deferred delivery is requeued, and one that has failed is dead-lettered
        by the broker itself, whole, with the headers that it came with (ADR 17).

        Raises:
            DeliveryLostError: The delivering channel is gone; the broker delivers the message again.
        """
        deadline_s = time.monotonic() + CONFIRM_MAX_S
        try:
            await self._settle(delivery, outcome)
        except MessageTooLargeError as error:
            return await self._settle_too_large(delivery, outcome, error, deadline_s=deadline_s)
        return outcome

    async def _settle(self, delivery: Delivery, outcome: Copied) -> None:
        match outcome:
            case Retry(envelope=envelope, delay_s=delay_s):
                await self._move(delivery, encode(envelope), queue=retry_queue(self._flow, delay_s))
            case Defer(delay_s=delay_s):
                await self._move(delivery, encode(delivery.envelope), queue=retry_queue(self._flow, delay_s))
            case DeadLetter(envelope=envelope):
                await self._move(delivery, encode(envelope), queue=dead_queue(self._flow))
            case _:
                assert_never(outcome)

    async def _settle_too_large(
        self, delivery: Delivery, outcome: Copied, error: MessageTooLargeError, *, deadline_s: float
    ) -> Copied:
        queue = lane_queue(self._flow, delivery.lane)
        left_s = max(0.0, deadline_s - time.monotonic())
        match outcome:
            case Retry(envelope=envelope) | DeadLetter(envelope=envelope) if envelope.failure is not None:
                if queue in self._unverified:  # without its dead-letter arguments the broker would delete the message
                    await asyncio.sleep(left_s)
                    self._requeue(delivery, queue, error)
                    return outcome
                delivery.dead_letter()
                made = delivery.envelope.attempt
                return DeadLetter(
                    envelope=replace(envelope, attempt=made, failure=replace(envelope.failure, reason=TOO_LARGE))
                )
            case _:
                if isinstance(outcome, Defer):  # it comes again at once, and no delay queue takes it
                    await asyncio.sleep(min(left_s, outcome.delay_s))
                self._requeue(delivery, queue, error)
                return outcome

    async def _move(self, delivery: Delivery, message: Message, *, queue: str) -> None:
        """Publish the copy, wait for its confirm, ack the original: in this order."""
        deadline = time.monotonic() + CONFIRM_MAX_S
        publication: Publication | None = None
        for failures in itertools.count():
            if not delivery.is_current:
                raise DeliveryLostError("the channel that delivered has closed before the copy was confirmed")
            try:
                # One that is unresolved may still be confirmed: it is waited for, never sent a second time.
                publication = publication or self._publisher.publish(message, queue=queue)
                await publication.confirmed(timeout_s=max(0.0, deadline - time.monotonic()))
            except PublishTimeoutError as error:
                self._requeue(delivery, queue, error)
                return
            except MessageTooLargeError:
                raise
            except (PublishError, BrokerUnavailableError) as error:
                publication = None
                if time.monotonic() >= deadline:
                    self._requeue(delivery, queue, error)
                    return
                await asyncio.sleep(min(REPUBLISH_PAUSE_MAX_S, 0.1 * 2**failures))
            else:
                delivery.ack()
                return

    def _requeue(self, delivery: Delivery, queue: str, error: Exception) -> None:
        log.warning("delivery.copy_unconfirmed", flow=self._flow, queue=queue, reason=str(error), action="requeued")
        delivery.requeue()

    async def _session(self, connection: Connection) -> None:
        if self._stopping:
            return
        await self._publisher.may_publish()
        self._unverified = await declare_queues(connection, self._specs, presence=self._presence)
        channel = await open_channel(connection)
        self._cancelled = cancellation_of(channel)
        consuming = consume_channel_on(connection, channel)
        self._held = {}  # tags are the channel's: what an earlier one delivered is the broker's again
        looks = await open_channel(connection)
        await prove_majority(looks, lease_queue(self._flow))  # without it we would take events and return them
        # Live last: its consumers are counted, and a user may lack the right to one of the others.
        self._tags = [await self._consume(consuming, lane) for lane in sorted(Lane, key=lambda lane: lane is Lane.LIVE)]
        self._connection, self._channel = connection, channel
        try:
            self._listener.joined()
            await first_of(
                until_closed(channel), until_cancelled(self._cancelled), self._poll(looks), self._watch_held()
            )
        except BrokerUnavailableError as error:
            if not self._stopping:
                if self._cancelled.is_set() or is_missing(error):
                    # At once: after the pause others may have declared it again, and the loss would go unnoticed.
                    lanes = [lane_queue(self._flow, lane) for lane in Lane]
                    await find_missing(connection, self._presence, lanes)
                raise
        finally:
            self._listener.left()
            self._connection = self._channel = None

    async def _poll(self, channel: Channel) -> NoReturn:
        """Measure the lanes every second, over the connection that our consumers live on.

        The leader that answers may be cut off from all others, who have given our share away by then. So each look
        follows something that only a majority can answer. If there is none for 10 s, the session ends and the next one
        may find a node on the other side.
        """
        uncounted = 0
        while True:
            began_s = lease_clock()
            await prove_majority(channel, lease_queue(self._flow))
            for lane in Lane:
                depth = await measure(channel, lane_queue(self._flow, lane))
                self._consumers[lane] = depth.consumers
                if not self._stopping:
                    self._listener.looked(lane, depth, began_s=began_s)
            uncounted = 0 if self._consumers[Lane.LIVE] else uncounted + 1
            if uncounted == UNCOUNTED_MAX:
                raise BrokerUnavailableError("the broker does not count our consumer among those of the events queue")
            await asyncio.sleep(POLL_S)

    async def _watch_held(self) -> NoReturn:
        """End a session with deliveries that nothing settles: whatever has forgotten them, the broker has not."""
        while True:
            await asyncio.sleep(POLL_S)
            late_s = time.monotonic() - self._held_max_s
            stuck = [delivery for delivery in self._held.values() if delivery.received_s < late_s]
            if stuck:
                log.error(
                    "delivery.stuck",
                    flow=self._flow,
                    deliveries=len(stuck),
                    event_id=shown_id(stuck[0].envelope.event.id),
                    held_max_s=self._held_max_s,
                    action="ending the session",
                )
                self._listener.stuck(len(stuck))
                raise BrokerUnavailableError(f"a delivery has been unsettled for more than {self._held_max_s:g} s")

    async def _consume(self, consuming: ConsumeChannel, lane: Lane) -> str:
        held = self._held

        def deliver(envelope: Envelope, tag: int) -> None:
            self._sink.put(Delivery(envelope=envelope, lane=lane, channel=consuming, tag=tag, held=held))

        queue = lane_queue(self._flow, lane)
        return await consuming.consume(queue, prefetch=self._prefetch[lane], deliver=deliver)
