"""A connection of the AMQP library, made our way: over any address, to any virtual host, with a wire below it."""

import asyncio
import ssl
from typing import Any

import aio_pika
import aiormq
from aio_pika.abc import TimeoutType, UnderlayConnection
from yarl import URL

from eventflow.amqp import wire
from eventflow.network.addresses import Route
from eventflow.network.broker_url import BrokerUrl
from eventflow.tasks import cancel_and_wait

HEARTBEAT_S = 10


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


class WiredConnection(aio_pika.Connection):
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
