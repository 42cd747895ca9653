"""Consuming a flow: the only place where deliveries arrive and are settled.

A delivery is settled only after its outcome is safe: the target has accepted the event, or the copy in a retry queue or
the dead queue is confirmed. A crash at any point can duplicate an event and never loses one.
"""

import asyncio
import itertools
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NoReturn, Protocol, assert_never

import structlog
from aiormq import Channel

from eventflow.amqp.channel import (
    answered,
    cancellation_of,
    closed_channel,
    is_missing,
    open_channel,
    until_cancelled,
    until_closed,
)
from eventflow.amqp.connection import Connection
from eventflow.amqp.consume_channel import ConsumeChannel, consume_channel_on
from eventflow.amqp.presence import Presence
from eventflow.amqp.proofs import prove_majority
from eventflow.amqp.publish_channel import Publication
from eventflow.amqp.publisher import Publisher
from eventflow.amqp.queues import QueueDepth, declare_queues, find_missing, measure, wait_for_consumers
from eventflow.amqp.shared import Seat
from eventflow.clock import lease_clock
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
from eventflow.tasks import finished, first_of
from eventflow.telemetry.logging import shown_id
from eventflow.topology import Lane, QueueSpec, dead_queue, lane_queue, lease_queue, retry_queue

REPUBLISH_PAUSE_MAX_S = 2.0

POLL_S = 1.0
POLL_MIN_S = 0.05
"""Shortest time between two checks, even if many newcomers ask for one."""

REST_AFTER_S = 5.0
"""Time without an event after which a flow rests: its lease is not renewed, so it may send nothing, and its next event
starts a check at once. A processor that joins needs 4 s of checks every second before it may send."""

REST_POLL_S = 2.0
"""Shortest time between two checks at rest. They serve the metrics, and find a consumer that the broker has lost."""

REST_PROOF_S = 5.0
"""Longest time without a proof of a majority on a connection whose flows all rest. Otherwise a processor beside a
disconnected broker would wait for events that only the other brokers have."""

UNCOUNTED_MAX = 3
"""Checks in a row that show no consumer, after which ours is considered lost, even without a notice of the broker."""

SETTLED_MAX_S = 2.0
"""Longest wait at a stop until the queues have taken all settlements."""

CHECK_ENDS_S = 1.0
"""Longest wait for the answers of a check after the end of its session."""

STOP_MAX_S = 2.0
"""Longest wait for an answer at a stop: the broker may be frozen."""

log = structlog.stdlib.get_logger()


class Sink(Protocol):
    """Receives the deliveries."""

    def put(self, delivery: Delivery) -> None:
        """Keep a delivery until its turn begins. Never blocks."""


class MembershipListener(Protocol):
    """Is notified when this process joins or leaves the consumers of a flow, and of each check of the queues."""

    def joined(self) -> None:
        """Note that every lane has a consumer of this process now."""

    def depth_measured(self, lane: Lane, depth: QueueDepth, *, began_s: float, is_proved: bool) -> None:
        """Note the depth of a lane's queue; called once a second for each lane, and at rest rarely for the live one.

        Args:
            lane: The lane.
            depth: Its ready messages, and its consumers of all processors.
            began_s: Time by `lease_clock` at the start of the check.
            is_proved: Whether the check began with the answer of a majority of the brokers.
        """

    def rested(self, *, is_resting: bool) -> None:
        """Note that checks become rare, because no event has come for some seconds, or that they are regular again."""

    def left(self) -> None:
        """Note that the consumers of this process are gone."""

    def stuck(self, deliveries: int) -> None:
        """Note that this number of deliveries was unsettled for too long, and that the session ends for this reason."""


class Consumer:
    """Consumes the lanes of one flow, on channels of its own.

    It has exactly one consumer on the events queue at a time, so the number of consumers is the number of processors.
    """

    def __init__(
        self,
        seat: Seat,
        *,
        flow: str,
        specs: Sequence[QueueSpec],
        prefetch: Mapping[Lane, int],
        sink: Sink,
        publisher: Publisher,
        listener: MembershipListener,
        held_max_s: float,
        rest_poll_s: float = REST_POLL_S,
        presence: Presence | None = None,
    ) -> None:
        """Prepare; nothing connects before `run`.

        Args:
            seat: The place on a connection that other flows may share.
            flow: The flow to consume.
            specs: Queues to declare before consuming.
            prefetch: Unsettled deliveries that the broker may send ahead, by lane.
            sink: Receives the deliveries.
            publisher: Publishes copies, on its own connection.
            listener: Notified of the consumers, and of each lane's depth.
            held_max_s: Longest time that a delivery may be unsettled. If one is, it is stuck in this process, so the
                session ends, and the broker delivers it again.
            rest_poll_s: Time between two checks while no event comes.
            presence: Notes which queues exist, and reports those that vanish.
        """
        self._seat = seat
        self._presence = presence or Presence()
        self._flow = flow
        self._specs = specs
        self._prefetch = prefetch
        self._sink = sink
        self._publisher = publisher
        self._listener = listener
        self._held_max_s = held_max_s
        self._rest_poll_s = rest_poll_s
        self._held: Held = {}
        self._connection: Connection | None = None
        self._channel: Channel | None = None
        self._consuming: ConsumeChannel | None = None
        self._consumers: dict[Lane, int] = {}
        self._tags: list[str] = []
        self._unverified: tuple[str, ...] = ()  # queues whose arguments this user may not verify
        self._cancelled = asyncio.Event()
        self._arrived = asyncio.Event()  # a delivery has arrived since the latest check began
        self._asked = asyncio.Event()  # the next check is due at once
        self._busy = asyncio.Event()  # cleared while the flow rests
        self._busy.set()
        self._busy_at_s = 0.0
        self._stopping = False
        self._is_silent = False  # the broker has not answered the stop

    @property
    def is_consuming(self) -> bool:
        """Whether every lane has its consumer now."""
        return self._channel is not None and not self._channel.is_closed and not self._cancelled.is_set()

    @property
    def held(self) -> int:
        """Number of deliveries that are not settled yet."""
        return len(self._held)

    @property
    def busy_at_s(self) -> float:
        """Monotonic time of the latest check that did not find the flow at rest."""
        return self._busy_at_s

    async def run(self) -> None:
        """Stay connected and consume; returns after `stop` and `close`, and can then be called again.

        Raises:
            TopologyMismatchError: A queue exists with other arguments.
        """
        self._stopping = self._is_silent = False
        await self._seat.keep(self._session, trial=self._try)

    async def stop(self) -> None:
        """Accept no more deliveries. Those that arrived before this returns can still be settled."""
        self._stopping = True
        if self._channel is None:
            return
        # Before the cancel, and not at the end of the session: from then on the others spend our share of the quota.
        self._listener.left()
        cancels = asyncio.gather(
            *(answered("cancel a consumer", self._channel.basic_cancel(tag)) for tag in self._tags),
            return_exceptions=True,
        )
        # Not cancelled after the timeout: the library would close the channel, and later settlements would be lost.
        done, _ = await asyncio.wait({cancels}, timeout=STOP_MAX_S)
        self._is_silent = not done
        failures = (
            ["no answer"] if self._is_silent else [str(e) for e in cancels.result() if isinstance(e, BaseException)]
        )
        if failures:
            log.debug("consumer.cancel_failed", flow=self._flow, reason=failures[0])

    async def close(self) -> None:
        """Close the channel after the queues have received all settlements, so that a clean stop repeats no event."""
        # All are gone if the session ends meanwhile.
        connection, channel, consuming = self._connection, self._channel, self._consuming
        if channel is None or connection is None or consuming is None or self._is_silent:
            return
        # At rest nothing has been settled for seconds. The numbers of consumers may be old, so no wait would end.
        waits = [
            wait_for_consumers(connection, lane_queue(self._flow, lane), at_most=consumers - 1, timeout_s=SETTLED_MAX_S)
            for lane, consumers in self._consumers.items()
            if self._is_busy
        ]
        try:
            async with asyncio.timeout(SETTLED_MAX_S + STOP_MAX_S):
                await asyncio.gather(*waits)
                consuming.retire()
                await answered("close the channel", channel.close())
        except (BrokerUnavailableError, TimeoutError) as error:
            log.debug("consumer.close_failed", flow=self._flow, reason=str(error) or "no answer")

    def check_at_once(self) -> None:
        """Start a check of the lanes now, also at rest; if one is in progress, start the next when it has ended."""
        self._asked.set()
        self._arrived.set()  # ends the rest

    async def settle(self, delivery: Delivery, outcome: Copied) -> Copied:
        """Publish the copy of a delivery, ack the delivery when the copy is confirmed, and return the final outcome.

        If the copy is not confirmed within 45 s, the delivery is requeued; a later confirm means a duplicate. If the
        copy is too large for the broker, a deferred delivery is requeued. A failed one is dead-lettered by the broker
        itself, with its whole body and its original headers (ADR 17).

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
                if queue in self._unverified:
                    # A queue without dead-letter arguments deletes a rejected message, and this queue may have none. So
                    # the message is requeued. It waits first, because it is delivered again at once.
                    await asyncio.sleep(left_s)
                    self._requeue(delivery, queue, error)
                    return outcome
                delivery.dead_letter()
                made = delivery.envelope.attempt
                return DeadLetter(
                    envelope=replace(envelope, attempt=made, failure=replace(envelope.failure, reason=TOO_LARGE))
                )
            case _:
                if isinstance(outcome, Defer):  # no delay queue accepts it, so it waits here
                    await asyncio.sleep(min(left_s, outcome.delay_s))
                self._requeue(delivery, queue, error)
                return outcome

    async def _move(self, delivery: Delivery, message: Message, *, queue: str) -> None:
        """Publish the copy, wait for its confirm, ack the original.

        Because of this order, a crash loses no message: between the confirm and the ack it only duplicates one.
        """
        deadline = time.monotonic() + CONFIRM_MAX_S
        publication: Publication | None = None
        for failures in itertools.count():
            if not delivery.is_current:
                raise DeliveryLostError("the delivering channel has closed before the copy was confirmed")
            try:
                # While a publish is unresolved, the broker may have the copy. So this waits and does not send it again.
                publication = publication or self._publisher.publish(message, queue=queue)
                await publication.confirmed(timeout_s=max(0.0, deadline - time.monotonic()))
            except PublishTimeoutError as error:
                self._requeue(delivery, queue, error)
                return
            except MessageTooLargeError:  # a `PublishError` that a repetition cannot solve
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
        async with closed_channel(connection) as measuring, closed_channel(connection) as channel:
            consuming = consume_channel_on(connection, channel)
            try:
                await self._consume_on(connection, channel, consuming, measuring)
            finally:
                consuming.retire()  # before its channel is closed: attempts in flight may end meanwhile
                # Delivery tags belong to a channel. The broker requeues all that this one leaves unsettled.
                self._held = {}
                if self._is_silent:
                    # Such a broker confirms no close either, and each wait for one takes 2 s. Not in `close`: other
                    # flows on the connection may still settle then.
                    connection.wire.abort()

    async def _try(self, connection: Connection) -> None:
        """Make the requests of a start that a majority must answer, on a connection that ends afterwards."""
        await declare_queues(connection, self._specs, presence=self._presence)
        channel = await open_channel(connection)
        await answered("limit the prefetch", channel.basic_qos(prefetch_count=1))
        for queue in (lease_queue(self._flow), *(lane_queue(self._flow, lane) for lane in Lane)):
            await prove_majority(channel, queue)

    async def _consume_on(
        self, connection: Connection, channel: Channel, consuming: ConsumeChannel, measuring: Channel
    ) -> None:
        self._cancelled = cancellation_of(channel)
        # Before consuming: on a node without a majority there is no lease, so every delivery would only be requeued.
        await self._prove_majority(measuring)
        # The live lane last, because its consumers are counted: if the user lacks a right on one of the other lanes,
        # this process must not be counted.
        self._seat.note_request()
        self._tags = [await self._consume(consuming, lane) for lane in sorted(Lane, key=lambda lane: lane is Lane.LIVE)]
        self._seat.note_proof()
        self._connection, self._channel, self._consuming = connection, channel, consuming
        self._wake()
        try:
            self._listener.joined()
            await first_of(
                until_closed(channel), until_cancelled(self._cancelled), self._poll(measuring), self._watch_held()
            )
        except BrokerUnavailableError as error:
            if not self._stopping:
                if self._cancelled.is_set() or is_missing(error):
                    # Before the pause: during it another service may declare the queue again, which would hide its
                    # loss.
                    lanes = [lane_queue(self._flow, lane) for lane in Lane]
                    await find_missing(connection, self._presence, lanes)
                raise
        finally:
            self._listener.left()
            self._connection = self._channel = self._consuming = None

    async def _poll(self, channel: Channel) -> NoReturn:
        """Check the lanes every second, over the connection of our consumers; rarely while no event comes.

        Each check of a busy flow renews its lease. A flow at rest needs none: the next delivery ends the rest, and the
        check that it starts renews the lease before anything is sent.
        """
        uncounted = 0
        while True:
            if self._arrived.is_set():  # the event may be settled by now, and then no check would find it
                self._wake()
            self._arrived.clear()
            self._asked.clear()
            was_busy = self._is_busy
            check = self._check(channel) if was_busy else self._check_at_rest(channel)
            # The library closes the channel of a cancelled request, and its answer may be on its way.
            ready = await finished(check, within_s=CHECK_ENDS_S)
            uncounted = 0 if self._consumers[Lane.LIVE] else uncounted + 1
            if uncounted == UNCOUNTED_MAX:
                raise BrokerUnavailableError("the broker does not count our consumer among those of the events queue")
            if ready or self._held or uncounted or self._arrived.is_set():
                self._wake()
            elif time.monotonic() - self._busy_at_s > REST_AFTER_S:
                self._rest()
            if not self._is_busy:
                await self._until_arrived()
            elif was_busy:  # otherwise the flow has just been woken, and its lease is renewed at once
                await self._until_due()

    async def _until_due(self) -> None:
        """Wait for the time of the next check, which may be at once, but not directly after the one before."""
        await asyncio.sleep(POLL_MIN_S)
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_S - POLL_MIN_S):
                await self._asked.wait()

    async def _until_arrived(self) -> None:
        """Wait for a delivery, which ends the rest, or for the next check at rest."""
        with suppress(TimeoutError):
            # Spread, so that the checks of many flows that have started together do not come together.
            async with asyncio.timeout(self._rest_poll_s * random.uniform(0.5, 1.5)):  # noqa: S311 - no secret
                await self._arrived.wait()

    async def _check(self, channel: Channel) -> int:
        """Measure all lanes after a majority has answered; return the number of ready messages.

        If the answering leader is disconnected from the other brokers, the processors there spend our share of the
        quota. So each check begins with a request that only a majority can answer. Without an answer within 10 s, the
        session ends, and the next one may find a broker on the side of the majority.
        """
        began_s = lease_clock()
        await self._prove_majority(channel)
        return sum([await self._measure(channel, lane, began_s, is_proved=True) for lane in Lane])

    async def _check_at_rest(self, channel: Channel) -> int:
        """Measure the live lane; return the number of its ready messages. Of the others, any message is delivered."""
        began_s = lease_clock()
        if is_proved := self._seat.claim_proof(every_s=REST_PROOF_S):
            await self._prove_majority(channel)
        return await self._measure(channel, Lane.LIVE, began_s, is_proved=is_proved)

    async def _prove_majority(self, channel: Channel) -> None:
        self._seat.note_request()
        await prove_majority(channel, lease_queue(self._flow))
        self._seat.note_proof()

    async def _measure(self, channel: Channel, lane: Lane, began_s: float, *, is_proved: bool) -> int:
        depth = await measure(channel, lane_queue(self._flow, lane))
        self._consumers[lane] = depth.consumers
        if not self._stopping:
            self._listener.depth_measured(lane, depth, began_s=began_s, is_proved=is_proved)
        return depth.messages

    @property
    def _is_busy(self) -> bool:
        return self._busy.is_set()

    def _wake(self) -> None:
        """Check every second from now on."""
        self._busy_at_s = time.monotonic()
        if not self._is_busy:
            self._busy.set()
            self._listener.rested(is_resting=False)

    def _rest(self) -> None:
        """Check rarely from now on."""
        if self._is_busy:
            self._busy.clear()
            self._listener.rested(is_resting=True)

    async def _watch_held(self) -> NoReturn:
        """End a session with deliveries that are never settled: the broker still has them and delivers them again."""
        while True:
            await self._busy.wait()  # at rest there are none
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
        held, arrived = self._held, self._arrived

        def deliver(envelope: Envelope, tag: int) -> None:
            arrived.set()
            self._sink.put(Delivery(envelope=envelope, lane=lane, channel=consuming, tag=tag, held=held))

        queue = lane_queue(self._flow, lane)
        return await consuming.consume(queue, prefetch=self._prefetch[lane], deliver=deliver)
