"""Sessions: a service stays connected, and whatever breaks is replaced as a whole.

A *session* is one connection and all that lives on it. It is never repaired: whatever breaks (the socket, a channel, a
consumer) ends it, and a new one starts from nothing. So there is no state in which half of it works (ADR 2).
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
    BrokerConnection,
    Connection,
    close,
    closing,
    connect,
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
"""Between a broken session and the next: one that fails at once must not spin, and a queue that was deleted must not be
declared again before every consumer has heard of its end. RabbitMQ 3.10 forgets to tell those that it would find late,
and sends them nothing for ever."""

REFUSED_PAUSE_S = 5
"""After a refusal: rights are given by a person."""

log = structlog.stdlib.get_logger()

Session = Callable[[Connection], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A broker that may be connected to."""

    url: str
    route: Route
    permissions_command: str

    @classmethod
    def of(cls, url: str) -> Self:
        broker = parse_broker_url(url)
        command = permissions_command(broker.username, vhost=broker.vhost)
        return cls(url=url, route=Route(broker.host, broker.port), permissions_command=command)


async def keep_connected(urls: Sequence[str], *, name: str, session: Session) -> None:
    """Run `session` on a connection, and on a new one whenever it breaks.

    The brokers are tried in their order, each 0.5 s after the one before or once that has refused, until one lets us
    in. This one is tried first from then on, unless the session ended although the connection stood, as it does on a
    node that has no majority, or has just begun.

    Returns when the session returns of its own accord.

    Raises:
        TopologyMismatchError: Raised by the session: starting again cannot help.
    """
    places = [_Place.of(url) for url in urls]
    refusal: str | None = None  # the one that is in the log already
    while True:
        place, connection = await _connect_to_first(places, name=name)
        began_s = time.monotonic()
        places.remove(place)
        places.insert(0, place)
        try:
            async with closing(connection):
                try:
                    log.info("broker.connected", connection=name, server=_server(connection))
                    return await session(connection)
                finally:
                    if not connection.wire.is_lost or time.monotonic() - began_s < SESSION_PAUSE_S:
                        places.append(places.pop(0))
        except (BrokerUnavailableError, *CONNECTION_ERRORS) as error:
            if is_cancelled_by_us():  # the library turns a cancellation that meets a closing connection into its error
                raise asyncio.CancelledError from error
            reason = connection.wire.close_reason or first_line(error)
            if is_refused(error):
                if refusal != str(error.__cause__):
                    advice = place.permissions_command
                    log.error("broker.right_missing", connection=name, reason=reason, advice=advice)  # noqa: TRY400
                refusal = str(error.__cause__)
                await asyncio.sleep(REFUSED_PAUSE_S)
                continue
        except asyncio.CancelledError:
            if is_cancelled_by_us():
                raise
            reason = connection.wire.close_reason or "the connection was closed"
        refusal = None
        log.warning("broker.session_ended", connection=name, reason=reason)
        await asyncio.sleep(SESSION_PAUSE_S)


async def _connect_to_first(places: Sequence[_Place], *, name: str) -> tuple[_Place, BrokerConnection]:
    """Connect to the first of the brokers that lets us in, however long that takes.

    Each is tried again on its own: one that is silent must not keep us from another that has just started.
    """

    async def attempt(place: _Place, next_may_begin: Callable[[], None]) -> tuple[_Place, BrokerConnection]:
        return place, await _connect_persistently(place, name=name, on_failure=next_may_begin)

    return await race(
        [partial(attempt, place) for place in places],
        stagger_s=NEXT_URL_AFTER_S,
        discard=lambda second: close(second[1]),
    )


async def _connect_persistently(place: _Place, *, name: str, on_failure: Callable[[], None]) -> BrokerConnection:
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
            return await connect(place.url, name=name, route=place.route)
    raise AssertionError("unreachable: the retrying above has no end")


def _server(connection: Connection) -> str:
    return f"RabbitMQ {server_version(connection)}"
