"""Sessions: a service stays connected, and a connection with a broken part is replaced as a whole.

A *session* is one connection with its channels and consumers. It is never repaired: if any part of it breaks, such as
the socket, a channel or a consumer, the session ends and a new one starts from nothing. So there is no state in which
half of it works (ADR 2).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential_jitter

from eventflow.amqp.channel import CONNECTION_ERRORS, is_cancelled_by_us, is_refused
from eventflow.amqp.connection import (
    NEXT_URL_AFTER_S,
    Connection,
    close,
    closing,
    connect,
    connect_to_any,
    first_line,
    server_version,
)
from eventflow.errors import BrokerUnavailableError
from eventflow.network.broker_url import parse_broker_url
from eventflow.network.route import Route
from eventflow.tasks import race
from eventflow.topology import permissions_command

RECONNECT_PAUSE_MAX_S = 3
SESSION_PAUSE_S = 1
"""Pause between a broken session and the next one. A session that fails at once must not spin. And if a queue was
deleted, it must not be declared again before every consumer has been notified: if the queue exists again by then,
RabbitMQ 3.10 does not notify the consumer, and never delivers to it again. There is no pause after the loss of a
connection that is older than this, unless the broker has closed it for an internal error, which a queue that is being
deleted can cause. So nothing spins, and such a loss is no sign of a deleted queue."""

REFUSED_PAUSE_S = 5
"""Pause after a refusal: only a person can grant a right."""

log = structlog.stdlib.get_logger()

Session = Callable[[Connection], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Broker:
    """A broker to connect to."""

    url: str
    route: Route
    permissions_command: str

    @classmethod
    def of(cls, url: str) -> Self:
        broker = parse_broker_url(url)
        command = permissions_command(broker.username, vhost=broker.vhost)
        return cls(url=url, route=Route(broker.host, broker.port), permissions_command=command)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The end of a session by an error.

    Attributes:
        error: The error that ended it.
        reason: The same in one line.
        is_broker_suspect: Whether the connection still worked at the end, had existed for less than a second, or was
            closed for an internal error of the broker. In this case the cause may be the broker's own state, such as a
            lost majority or a queue that is being deleted, so another broker is preferred.
    """

    error: BaseException
    reason: str
    is_broker_suspect: bool


class EndingLog:
    """Logs the ends of sessions, and knows the pause after each."""

    def __init__(self, name: str) -> None:
        """Log for the sessions of this name."""
        self._name = name
        self._logged_refusal: str | None = None

    def note(self, ending: Ending, *, advice: str) -> float:
        """Log the end of a session, and return the pause until the next one in seconds.

        Args:
            ending: The end.
            advice: The command that grants all rights, in case that one is missing.
        """
        if not is_refused(ending.error):
            self._logged_refusal = None
            log.warning("broker.session_ended", connection=self._name, reason=ending.reason)
            return SESSION_PAUSE_S if ending.is_broker_suspect else 0.0
        # A missing right ends every session until the right is granted, so it is logged once and not every 5 s.
        refusal = str(ending.error.__cause__)
        if refusal != self._logged_refusal:
            log.error("broker.right_missing", connection=self._name, reason=ending.reason, advice=advice)
        self._logged_refusal = refusal
        return REFUSED_PAUSE_S


class InUse:
    """The brokers of connections of which each tries those of the others last.

    Attributes:
        urls: One for each connection that is open.
        turn: Held while one of them connects: two at a time could choose the same broker.
    """

    def __init__(self) -> None:
        self.urls: list[str] = []
        self.turn = asyncio.Lock()


async def keep_connected(urls: Sequence[str], *, name: str, session: Session, in_use: InUse | None = None) -> None:
    """Run `session` on a connection, and on a new one after each error; return when the session returns.

    The next session begins at once after the loss of a connection that had worked for a second, 5 s after a refusal,
    and a second after any other error, such as an internal one of the broker.

    The brokers are tried in order, each 0.5 s after the one before, or immediately after that one has failed, until one
    accepts the connection. From then on this one is tried first, unless its own state may have ended the session.

    Args:
        urls: URLs of the brokers, the preferred one first.
        name: Shown in logs and in the management UI.
        session: Called with each connection.
        in_use: The brokers of this connection and others.

    Raises:
        TopologyMismatchError: Raised by the session. Another session could not help.
    """
    brokers = [_Broker.of(url) for url in urls]
    in_use = in_use or InUse()
    endings = EndingLog(name)
    while True:
        async with in_use.turn:
            apart = sorted(brokers, key=lambda broker: broker.url in in_use.urls)
            broker, connection = await _connect_to_first(apart, name=name)
            in_use.urls.append(broker.url)
        ending = await _run(session, connection, name=name)
        in_use.urls.remove(broker.url)
        if ending is None:
            return
        brokers.remove(broker)
        brokers.insert(len(brokers) if ending.is_broker_suspect else 0, broker)
        await asyncio.sleep(endings.note(ending, advice=broker.permissions_command))


def is_closed_for_internal_error(connection: Connection) -> bool:
    """Whether the broker has closed the connection because of an error of its own, such as a lost majority."""
    return (connection.wire.close_reason or "").startswith("INTERNAL_ERROR")


async def _run(session: Session, connection: Connection, *, name: str) -> Ending | None:
    """Run a session and close its connection; return its ending, or None if the session returned."""
    ending: Ending | None = None

    async def session_and_close(_: Connection) -> None:
        nonlocal ending
        async with closing(connection):
            log.info("broker.connected", connection=name, server=f"RabbitMQ {server_version(connection)}")
            # Judged before `closing` closes the connection: afterwards every connection is lost.
            ending = await ending_of(session, connection)

    failed_close = await ending_of(session_and_close, connection)
    return ending or failed_close


async def run_once(urls: list[str], *, name: str, session: Session) -> Ending | None:
    """Run a session at the first broker that accepts a connection; return its ending, or None if the session returned.

    Args:
        urls: URLs of the brokers, the preferred one first. That of the session is moved to the end.
        name: Shown in logs and in the management UI.
        session: Called with the connection.
    """
    try:
        url, connection = await connect_to_any(urls, name=name)
    except BrokerUnavailableError as error:
        return Ending(error=error, reason=str(error), is_broker_suspect=True)
    urls.remove(url)
    urls.append(url)
    return await _run(session, connection, name=name)


async def ending_of(session: Session, connection: Connection) -> Ending | None:
    """Run a session on a connection, which stays open; return its ending, or None if the session returned."""
    began_s = time.monotonic()
    try:
        await session(connection)
    except (BrokerUnavailableError, *CONNECTION_ERRORS) as error:
        if is_cancelled_by_us():  # the library turns a cancellation into its own error if the connection is closing
            raise asyncio.CancelledError from error
        return _ending(error, first_line(error), connection, began_s=began_s)
    except asyncio.CancelledError as error:
        if is_cancelled_by_us():
            raise
        return _ending(error, "the connection was closed", connection, began_s=began_s)
    return None


def _ending(error: BaseException, reason: str, connection: Connection, *, began_s: float) -> Ending:
    is_young = time.monotonic() - began_s < SESSION_PAUSE_S
    is_suspect = not connection.wire.is_lost or is_young or is_closed_for_internal_error(connection)
    return Ending(error=error, reason=connection.wire.close_reason or reason, is_broker_suspect=is_suspect)


async def _connect_to_first(brokers: Sequence[_Broker], *, name: str) -> tuple[_Broker, Connection]:
    """Connect to the first of the brokers that accepts the connection, without a time limit.

    Each broker is retried independently, so that a silent one cannot delay one that has just started.
    """

    async def attempt(broker: _Broker, next_may_begin: Callable[[], None]) -> tuple[_Broker, Connection]:
        return broker, await _connect_persistently(broker, name=name, on_failure=next_may_begin)

    return await race(
        [partial(attempt, broker) for broker in brokers],
        stagger_s=NEXT_URL_AFTER_S,
        discard=lambda second: close(second[1]),
    )


async def _connect_persistently(broker: _Broker, *, name: str, on_failure: Callable[[], None]) -> Connection:
    def report(state: RetryCallState) -> None:
        on_failure()
        error = state.outcome.exception() if state.outcome else None
        log.warning("broker.connection_failed", connection=name, reason=str(error), attempt=state.attempt_number)

    async for attempt in AsyncRetrying(
        retry=retry_if_exception_type(BrokerUnavailableError),
        wait=wait_exponential_jitter(multiplier=0.2, max=RECONNECT_PAUSE_MAX_S, jitter=0.2),
        before_sleep=report,
    ):
        with attempt:
            return await connect(broker.url, name=name, route=broker.route)
    raise AssertionError("unreachable: the retries above have no end")
