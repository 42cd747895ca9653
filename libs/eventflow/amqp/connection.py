"""One connection to a broker: opened over any address and to any virtual host, asked about itself, and closed."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aio_pika
import aiormq
import structlog
from aio_pika.abc import TimeoutType, UnderlayConnection
from typing_extensions import override
from yarl import URL

from eventflow.amqp import wire
from eventflow.errors import BrokerUnavailableError
from eventflow.network.broker_tls import context_of
from eventflow.network.broker_url import BrokerUrl, parse_broker_url
from eventflow.network.route import Route
from eventflow.tasks import cancel_and_wait, race

HEARTBEAT_S = 10
CONNECT_TIMEOUT_S = 10
CHANNELS_MAX = 65535
"""The highest number of a channel, if the broker names none."""

CLOSE_TIMEOUT_S = 2.0
"""Longest time that an orderly close may take. The library alone would wait 33 s for a broker that does not read."""

NEXT_URL_AFTER_S = 0.5
"""Time after which the next broker is tried while one has not answered yet. It suffices for the 8 round trips of a
handshake over TLS. If a broker is silent, most of the 2 s remain in which a publish must be confirmed."""

log = structlog.stdlib.get_logger()


class _Transport(aiormq.Connection):
    """The library's innermost connection, which takes a silent broker for lost earlier.

    The library aborts a connection if it has received nothing for three heartbeats, which took 33 to 38 s. RabbitMQ
    sends a heartbeat every 5 s if it has sent nothing else since the time of the one before, so every 10 s at least.
    """

    HEARTBEAT_GRACE_MULTIPLIER = 1.5  # type: ignore[assignment]  # declared as an int by its value only


class _Underlay(UnderlayConnection):
    """The library's inner connection, to a virtual host that is given apart from the URL.

    The library would read the virtual host from the path of a URL, where it takes `%252F` for a slash and `..` for the
    parent directory.
    """

    @classmethod
    @override
    async def make_connection(
        cls, url: URL, timeout: TimeoutType = None, *, vhost: str = "/", **options: Any
    ) -> aiormq.Connection:
        connection = _Transport(url, **options)
        connection.vhost = vhost
        async with asyncio.timeout(timeout):
            await connection.connect()
        return connection


class Connection(aio_pika.Connection):
    """A connection of the library that shares its socket with a wire of ours."""

    def __init__(self, broker: BrokerUrl, route: Route, context: ssl.SSLContext | None, *, name: str) -> None:
        """Prepare; `connect` connects.

        Args:
            broker: The broker and the credentials.
            route: The way to the broker.
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
        self._last_channel_number = 0
        named = broker.tls.server_name if broker.tls is not None else None
        self.kwargs["vhost"] = broker.vhost
        self.kwargs["transport_factory"] = wire.WireTransportFactory(
            self.wire, route, context=context, server_name=named or broker.host.removesuffix(".")
        )

    def new_channel_number(self) -> int:
        """Return a number that no channel has had for as long as possible.

        The library reuses the highest number as soon as the broker has closed its channel. Another channel may then be
        opened with this number before the library has sent the answer to the close, and the broker closes the whole
        connection: "second 'channel.open' seen".

        Raises:
            BrokerUnavailableError: The connection is closed.
        """
        transport = transport_of(self)
        numbers_max = transport.connection_tune.channel_max or CHANNELS_MAX
        for _ in range(numbers_max):
            self._last_channel_number = self._last_channel_number % numbers_max + 1
            if self._last_channel_number not in transport.channels:
                break
        return self._last_channel_number

    @override
    async def connect(self, timeout: TimeoutType = None) -> None:
        # If connecting fails or is cancelled, the library closes the connection in order. Over TLS this takes until the
        # other side answers. It also leaves a connection open if the handshake has just ended. So the library connects
        # in a task of its own, and the socket is aborted before that task is cancelled.
        opening = asyncio.create_task(self._open(timeout))
        try:
            await asyncio.wait({opening})
            opening.result()
        except BaseException:
            self.wire.abort()
            await cancel_and_wait(opening)
            raise

    @override
    def __del__(self) -> None:
        """Leave the connection alone: it is closed or aborted by then.

        The library's method starts a task that closes a connection which has failed to open. If Python collects such a
        connection on another thread, such as that of a spool, it prints a warning in place of a line of the log.
        """

    async def _open(self, timeout: TimeoutType) -> None:
        self.transport = await _Underlay.connect(self.url, self._on_connection_close, timeout=timeout, **self.kwargs)
        await self._on_connected()


def wire_of(connection: Connection) -> wire.Wire | None:
    """Return the wire to publish and consume on; None if the library's version is not one that it was tested with."""
    return connection.wire if wire.is_supported() else None


async def connect(url: str, *, name: str, route: Route | None = None) -> Connection:
    """Open one connection, with a heartbeat of 10 s, within 10 s.

    Args:
        url: A broker URL.
        name: Shown in the management UI.
        route: The way to the broker, if it has been used before.

    Raises:
        BrokerUnavailableError: Refused, silent, or not authorized; the message has the URL without password, and the
            reason.
    """
    broker = parse_broker_url(url)
    route = route or Route(broker.host, broker.port)
    connection: Connection | None = None
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            # On a thread, because it reads files. It is made for each connection, so that renewed certificates count.
            context = None if broker.tls is None else await asyncio.to_thread(context_of, broker.tls)
            connection = Connection(broker, route, context, name=name)
            await connection.connect()
    except Exception as error:  # not only the library's: it passes on any error of parsing the answer of a non-broker
        route.failed()
        close_reason = None if connection is None else connection.wire.close_reason
        reason = close_reason or ("no answer" if isinstance(error, TimeoutError) else first_line(error))
        raise BrokerUnavailableError(f"cannot connect to {shown_url(url)}: {reason}") from error
    route.worked()
    return connection


async def connect_to_any(urls: Sequence[str], *, name: str) -> tuple[str, Connection]:
    """Open one connection to the first broker that accepts us; return its URL too.

    Raises:
        BrokerUnavailableError: None does; the message is that of the last broker.
    """

    async def attempt(url: str, _: Callable[[], None]) -> tuple[str, Connection]:
        return url, await connect(url, name=name)

    return await race(
        [partial(attempt, url) for url in urls], stagger_s=NEXT_URL_AFTER_S, discard=lambda second: close(second[1])
    )


@asynccontextmanager
async def closing(connection: Connection) -> AsyncIterator[Connection]:
    """Close a connection at the end of the context."""
    try:
        yield connection
    finally:
        await close(connection)


async def close(connection: Connection) -> None:
    """Close a connection: in order if the broker answers within 2 s, otherwise by aborting it."""
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await connection.close()
    except TimeoutError:
        log.debug("broker.connection_cut", reason=f"it did not close within {CLOSE_TIMEOUT_S:g} s")
    finally:
        connection.wire.abort()  # harmless after an orderly close


def server_version(connection: Connection) -> str:
    """Return the RabbitMQ version from the handshake."""
    version = transport_of(connection).server_properties.get("version", b"")
    return version.decode() if isinstance(version, bytes) else str(version)


def shown_url(url: str) -> str:
    """Return a broker URL without its password and query, for logs and errors."""
    parsed = URL(url)
    return str(parsed.with_query(None).with_password("***" if parsed.password else None))


def transport_of(connection: Connection) -> aiormq.abc.AbstractConnection:
    """Return the library's inner connection, which opens channels.

    Raises:
        BrokerUnavailableError: The connection is closed.
    """
    if connection.transport is None:
        raise BrokerUnavailableError("the connection is closed")
    return connection.transport.connection


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its class if it has no text; of a system error the reason only.

    For a failed connection, asyncio's text is `[Errno 111] Connect call failed ('127.0.0.1', 5672)`.
    """
    if isinstance(error, OSError) and error.errno and not isinstance(error, ssl.SSLError) and error.filename is None:
        return os.strerror(error.errno) if error.errno > 0 else str(error.strerror)  # negative if a name has no address
    return (str(error) or type(error).__name__).splitlines()[0]
