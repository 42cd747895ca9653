"""One connection to a broker: opened over any address and to any virtual host, asked about itself, and closed."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeAlias

import aio_pika
import aiormq
import structlog
from aio_pika.abc import AbstractConnection, TimeoutType, UnderlayConnection
from yarl import URL

from eventflow.amqp import wire
from eventflow.errors import BrokerUnavailableError
from eventflow.network.broker_tls import context_of
from eventflow.network.broker_url import BrokerUrl, parse_broker_url
from eventflow.network.route import Route
from eventflow.tasks import cancel_and_wait, race

HEARTBEAT_S = 10
CONNECT_TIMEOUT_S = 10
CLOSE_TIMEOUT_S = 2.0
"""How long a connection may take to close in order. The library waits 33 s for a broker that does not read."""

NEXT_URL_AFTER_S = 0.5
"""How long a broker has to let us in before the next is tried beside it. A handshake over TLS takes 8 round trips; one
broker that is silent must not use up the time that a sender waits for a confirm, which is 2 s."""

log = structlog.stdlib.get_logger()

Connection: TypeAlias = AbstractConnection
"""For those outside the adapters, who never see the AMQP libraries."""


class _Underlay(UnderlayConnection):
    """The library's connection to a virtual host that is given apart from the URL.

    The library reads it from a URL's path, where it takes `%252F` for a slash and `..` for the directory above.
    """

    @classmethod
    async def make_connection(
        cls, url: URL, timeout: TimeoutType = None, *, vhost: str = "/", **options: Any
    ) -> aiormq.Connection:
        connection = aiormq.Connection(url, **options)
        connection.vhost = vhost
        async with asyncio.timeout(timeout):
            await connection.connect()
        return connection


class BrokerConnection(aio_pika.Connection):
    """A connection of the library with a wire below it."""

    def __init__(self, broker: BrokerUrl, route: Route, context: ssl.SSLContext | None, *, name: str) -> None:
        """Prepare.

        Args:
            context: None for a connection without TLS.
            name: Shown in the management UI.
        """
        super().__init__(
            URL.build(
                scheme="amqp" if context is None else "amqps",
                user=broker.username,
                password=broker.password,
                host=broker.host,
                port=broker.port,
                query={"heartbeat": str(HEARTBEAT_S), "auth": broker.mechanism},
            ),
            client_properties={"connection_name": name},
        )
        self.wire = wire.Wire()
        named = broker.tls.server_name if broker.tls is not None else None
        self.kwargs["vhost"] = broker.vhost
        self.kwargs["transport_factory"] = wire.WireTransportFactory(
            self.wire, route, context=context, server_name=named or broker.host.removesuffix(".")
        )

    async def connect(self, timeout: TimeoutType = None) -> None:
        """Connect, as the library does, and cut the connection at once if that fails or is cancelled.

        The library closes it in order then, which over TLS takes as long as the other side keeps silent, and it keeps
        one open whose handshake has just ended.
        """
        opening = asyncio.create_task(self._open(timeout))
        try:
            await asyncio.wait({opening})
            opening.result()
        except BaseException:
            self.wire.abort()
            await cancel_and_wait(opening)
            raise

    async def _open(self, timeout: TimeoutType) -> None:
        self.transport = await _Underlay.connect(self.url, self._on_connection_close, timeout=timeout, **self.kwargs)
        await self._on_connected()


def wire_of(connection: AbstractConnection) -> wire.Wire | None:
    """Return the wire to publish and consume on; None where the library's version is not one that it was tried with."""
    return connection.wire if isinstance(connection, BrokerConnection) and wire.is_supported() else None


async def connect(url: str, *, name: str, route: Route | None = None) -> BrokerConnection:
    """Open one connection, heartbeat 10 s, the handshake done within 10 s.

    Args:
        route: The way to the broker, if it has been used before.

    Raises:
        BrokerUnavailableError: Refused, silent, or not let in; the message says which URL (without password) and why.
    """
    broker = parse_broker_url(url)
    route = route or Route(broker.host, broker.port)
    connection: BrokerConnection | None = None
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            context = None if broker.tls is None else await asyncio.to_thread(context_of, broker.tls)
            connection = BrokerConnection(broker, route, context, name=name)
            await connection.connect()
    except Exception as error:  # the library passes on what reading raises if something else than a broker answers
        route.failed()
        words = None if connection is None else connection.wire.close_reason
        reason = words or ("no answer" if isinstance(error, TimeoutError) else first_line(error))
        raise BrokerUnavailableError(f"cannot connect to {shown_url(url)}: {reason}") from error
    route.worked()
    return connection


async def connect_to_any(urls: Sequence[str], *, name: str) -> tuple[str, AbstractConnection]:
    """Open one connection to the first broker that lets us in; return its URL too.

    Raises:
        BrokerUnavailableError: None does; the message is the last one's.
    """

    async def attempt(url: str, _: Callable[[], None]) -> tuple[str, AbstractConnection]:
        return url, await connect(url, name=name)

    return await race(
        [partial(attempt, url) for url in urls], stagger_s=NEXT_URL_AFTER_S, discard=lambda second: close(second[1])
    )


@asynccontextmanager
async def closing(connection: AbstractConnection) -> AsyncIterator[AbstractConnection]:
    """Close a connection at the end: in order if the broker takes part within 2 s, else by cutting it."""
    try:
        yield connection
    finally:
        await close(connection)


async def close(connection: AbstractConnection) -> None:
    """Close a connection in order if the broker takes part within 2 s, else cut it."""
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await connection.close()
    except TimeoutError:
        log.debug("broker.connection_cut", reason=f"it did not close within {CLOSE_TIMEOUT_S:g} s")
    finally:
        if isinstance(connection, BrokerConnection):
            connection.wire.abort()


def is_blocked(connection: AbstractConnection) -> bool:
    """Whether the broker blocks publishing on this connection (memory or disk alarm).

    The library tells this only by a coroutine that waits for the end of it; one step of that coroutine is the answer.
    """
    waiting = transport_of(connection).ready()
    try:
        waiting.send(None)
    except StopIteration:
        return False
    finally:
        waiting.close()
    return True


def server_version(connection: AbstractConnection) -> str:
    """Return the version that the broker gave when it let us in."""
    version = transport_of(connection).server_properties.get("version", b"")
    return version.decode() if isinstance(version, bytes) else str(version)


def shown_url(url: str) -> str:
    """Return a broker URL without its password and query, for logs and errors."""
    parsed = URL(url)
    return str(parsed.with_query(None).with_password("***" if parsed.password else None))


def transport_of(connection: AbstractConnection) -> aiormq.abc.AbstractConnection:
    """Return the connection of the library below, which opens channels.

    Raises:
        BrokerUnavailableError: The connection is closed.
    """
    if connection.transport is None:
        raise BrokerUnavailableError("the connection is closed")
    return connection.transport.connection


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its class if it has no text."""
    return (str(error) or type(error).__name__).splitlines()[0]
