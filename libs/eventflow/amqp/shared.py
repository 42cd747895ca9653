"""Connections that several flows share. Each flow has a seat: a session with channels of its own, which fails alone.

A connection for each flow would cost the broker as much memory as two of its queues, and a socket on both sides. Four
rules keep the sessions on a connection apart (ADR 42):

* A session that ends closes its channels, and the next one opens others. The other sessions are not affected.
* Only a few sessions start at a time. If all of them did, with many flows and processors, each of their requests would
  wait in the broker for longer than its timeout. Then all sessions would fail together, and start again together.
* The connection itself is replaced if it is lost. It is also replaced if a session fails on it, while no other one has
  reached a majority of the brokers lately or is still making its first try. In this case the broker may be the cause,
  so the next connection prefers another broker.
* A session that fails while the broker answers others makes a trial before it starts again, on a connection of its own.
  RabbitMQ closes the whole connection of a request that no majority answers: at once, or when its session has ended
  long ago. So a flow whose own queues lose their majority interrupts the others once, and not at each new start.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence

from eventflow.amqp.channel import RPC_TIMEOUT_S, closed_channel, is_refused, until_closed
from eventflow.amqp.connection import Connection
from eventflow.amqp.session import EndingLog, Session, ending_of, is_closed_for_internal_error, keep_connected
from eventflow.amqp.trials import Trials
from eventflow.errors import BrokerUnavailableError
from eventflow.network.broker_url import parse_broker_url
from eventflow.tasks import first_of
from eventflow.topology import permissions_command

PROVED_WITHIN_S = RPC_TIMEOUT_S + 5.0
"""Age up to which a proof of a majority counts for a connection. If the broker loses the majority, all sessions that
check it fail after `RPC_TIMEOUT_S`, and each of them forgets its own proof."""

ANSWERED_WITHIN_S = RPC_TIMEOUT_S - 2.0
"""Age up to which a proof of a majority is younger than a request that is given up after `RPC_TIMEOUT_S`."""

STARTS_MAX = 4
"""Sessions of a connection that may start at a time: more than one, because one may wait for its timeout. A start takes
more than 20 requests, so with 8 connections in each of 100 processors, 3200 requests wait in the broker at most."""

NOTICE_POLL_S = 0.05


class SharedConnection:
    """One connection for the sessions of several flows."""

    def __init__(self, urls: Sequence[str], *, name: str) -> None:
        """Prepare; `run` connects.

        Args:
            urls: URLs of the brokers, the preferred one first.
            name: Shown in logs and in the management UI.
        """
        broker = parse_broker_url(urls[0])
        self._urls = urls
        self._name = name
        self._advice = permissions_command(broker.username, vhost=broker.vhost)
        self._seats: list[Seat] = []
        self._connection: Connection | None = None
        self._connected = asyncio.Event()
        self._connected_at_s = -math.inf
        self._is_doomed = False  # a request is left that no majority has answered, and that will end the connection
        self._given_up = asyncio.Event()
        self._starts = asyncio.Semaphore(STARTS_MAX)
        self._trials = Trials(urls, advice=self._advice)
        self._claimed_at_s = -math.inf

    def seat(self, *, name: str) -> "Seat":
        """Return a place for one more session; `name` is shown in logs."""
        seat = Seat(self, name=name)
        self._seats.append(seat)
        return seat

    def proved_at_s(self) -> float:
        """Return the monotonic time of the latest proof of a majority by any session that has not failed since."""
        return max((seat.proved_at_s for seat in self._seats), default=-math.inf)

    def claim_proof(self, *, every_s: float) -> bool:
        """Return whether a proof is due; then the caller makes it, and no other session is asked meanwhile."""
        now_s = time.monotonic()
        if now_s - max(self._claimed_at_s, self.proved_at_s()) <= every_s:
            return False
        self._claimed_at_s = now_s
        return True

    async def run(self) -> None:
        """Stay connected until cancelled."""
        await keep_connected(self._urls, name=self._name, session=self._session)

    async def keep_session(self, session: Session, seat: "Seat", *, trial: Session) -> None:
        """Run `session` on the connection, and again after each error; return when the session returns.

        Each session waits for its turn to start, and starts until it has a proof of a majority. After one that may have
        failed because its own queues have lost their majority, a trial must succeed before the next.
        """
        endings = EndingLog(seat.name)
        connection: Connection | None = None
        while True:
            await self._starts.acquire()
            seat.started = self._starts.release
            try:
                used, connection = connection, await self._other_than_lost(connection)
                seat.is_untried = connection is not used
                ending = await ending_of(session, connection)
            finally:
                seat.end_start()
                is_doubtful, seat.proved_at_s = seat.is_doubtful, -math.inf
            if ending is None:
                return
            if connection.wire.is_lost or connection is not self._connection:
                # `keep_connected` logs the loss, once for all sessions
                needs_trial = is_doubtful and self._is_lost_by_a_flow(connection)
            else:
                needs_trial = self._answers_others and not is_refused(ending.error)
                self._is_doomed |= needs_trial and is_doubtful
                pause_s = endings.note(ending, advice=self._advice)
                if not (is_refused(ending.error) or self._may_work):
                    self._given_up.set()
                await asyncio.sleep(pause_s)
            if needs_trial:
                await self._trials.until_answered(trial, endings, name=f"{seat.name} trial")

    @property
    def _may_work(self) -> bool:
        """Whether a majority has answered lately, or a session has not had the time yet to get its first answer.

        Without the second condition, a flow whose sessions always fail at once would end the first session of each
        other flow, on every new connection. Those that wait for their turn count for as long as a request may take.
        """
        now_s = time.monotonic()
        is_proved = now_s - self.proved_at_s() <= PROVED_WITHIN_S
        is_new = now_s - self._connected_at_s < RPC_TIMEOUT_S
        return is_proved or any(seat.is_untried for seat in self._seats) or (is_new and self._starts.locked())

    def _is_lost_by_a_flow(self, connection: Connection) -> bool:
        """Whether a request of one of several flows, which no majority has answered, may be the cause of the loss."""
        return len(self._seats) > 1 and (self._is_doomed or is_closed_for_internal_error(connection))

    @property
    def _answers_others(self) -> bool:
        """Whether a majority has answered another session since the one that has just failed made its last request."""
        return time.monotonic() - self.proved_at_s() < ANSWERED_WITHIN_S

    async def _session(self, connection: Connection) -> None:
        async with closed_channel(connection) as watched:
            self._given_up.clear()
            self._is_doomed = False
            self._connected_at_s = time.monotonic()
            self._connection = connection
            self._connected.set()
            try:
                await first_of(until_closed(watched), self._until_given_up())
            finally:
                self._connected.clear()
                self._connection = None

    async def _until_given_up(self) -> None:
        await self._given_up.wait()
        raise BrokerUnavailableError("a session has failed, and no other one has reached a majority of the brokers")

    async def _other_than_lost(self, used: Connection | None) -> Connection:
        """Wait for a connection; it is `used` again unless that one is lost or given up."""
        while True:
            await self._connected.wait()
            connection = self._connection
            is_left = connection is used and used is not None and (used.wire.is_lost or self._given_up.is_set())
            if connection is not None and not is_left:
                return connection
            await asyncio.sleep(NOTICE_POLL_S)  # until `_session` has noticed it too


class Seat:
    """The place of one flow on a shared connection.

    Attributes:
        name: Shown in logs.
        proved_at_s: Monotonic time at which a majority of the brokers has last answered this session.
        awaits_majority: Whether a majority of the brokers has not answered the latest request that needs one.
        is_untried: Whether its first session on the connection is starting.
        started: Lets another session start, once; None if this one does not start.
    """

    def __init__(self, shared: SharedConnection, *, name: str) -> None:
        """Use `SharedConnection.seat`."""
        self._shared = shared
        self.name = name
        self.proved_at_s = -math.inf
        self.awaits_majority = False
        self.is_untried = False
        self.started: Callable[[], None] | None = None

    async def keep(self, session: Session, *, trial: Session) -> None:
        """Run `session` on the shared connection, and again after each error; return when the session returns.

        Args:
            session: Closes the channels that it opens.
            trial: Makes the same requests that need a majority as the start of the session, on a connection that is
                closed afterwards, and returns if all are answered.

        Raises:
            TopologyMismatchError: Raised by the session or the trial. Another session could not help.
        """
        await self._shared.keep_session(session, self, trial=trial)

    @property
    def is_doubtful(self) -> bool:
        """Whether the flow may have lost its majority: a request is not answered, or the latest proof is old."""
        return self.awaits_majority or time.monotonic() - self.proved_at_s > ANSWERED_WITHIN_S

    def note_request(self) -> None:
        """Note that the session makes a request now that only a majority of the brokers can answer."""
        self.awaits_majority = True

    def note_proof(self) -> None:
        """Note that a majority of the brokers has just answered on the connection. So the session has started."""
        self.awaits_majority = False
        self.proved_at_s = time.monotonic()
        self.end_start()

    def end_start(self) -> None:
        """Let another session of the connection start, unless this one has started before."""
        self.is_untried = False
        if self.started is not None:
            self.started()
            self.started = None

    def claim_proof(self, *, every_s: float) -> bool:
        """Return whether this session is the one to prove a majority, because none on the connection has lately."""
        return self._shared.claim_proof(every_s=every_s)
