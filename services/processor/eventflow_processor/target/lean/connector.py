"""Connector: opens connections to the origin of a target, with TLS if its URL demands it."""

import asyncio
import socket
from collections.abc import Callable, Sequence

from eventflow.network.client_tls import ClientTls
from eventflow.network.dial import dial, unreachable
from eventflow.network.host import check_host
from eventflow.network.resolver import AddressInfo
from eventflow_processor.target.exchange import Exchange
from eventflow_processor.target.lean.connection import Connection
from eventflow_processor.target.origin import Origin
from eventflow_processor.target.result import AttemptNotMadeError


class Connector:
    """Opens connections to one origin, directly or through its proxy."""

    def __init__(self, origin: Origin, make_connection: Callable[[], Connection], tls: ClientTls | None) -> None:
        """Open connections with TLS if `tls` is given."""
        self._origin = origin
        self._make_connection = make_connection
        self._tls = tls

    async def connect(self, exchange: Exchange) -> Connection:
        """Connect to the first address that answers. If TLS fails there, try the others.

        Each attempt begins 250 ms after the one before, or as soon as that one has failed.

        Raises:
            AttemptNotMadeError: The host can be neither looked up nor connected to.
            OSError: There is no address, no connection, or no TLS; `network.failure.detail_of` returns the word for it.
        """
        exchange.is_resolving = True
        addresses = await self._addresses()
        exchange.is_resolving = False
        while True:
            sock = await dial(addresses, via=self._origin.via, socket_factory=exchange.make_socket)
            peer = _peer_of(sock)
            try:
                _, connection = await asyncio.get_running_loop().create_connection(
                    self._make_connection,
                    sock=sock,
                    ssl=None if self._tls is None else self._tls.context,
                    # Certificates never have the final dot.
                    server_hostname=self._origin.host.rstrip(".") if self._tls else None,
                )
            except OSError:
                others = [address for address in addresses if address[-1][:2] != peer]
                if not others or len(others) == len(addresses):
                    raise
                addresses = others
            else:
                return connection

    async def _addresses(self) -> Sequence[AddressInfo]:
        host, port = self._origin.dialed
        try:
            check_host(host)
            return _numeric_addresses(host, port) or await self._origin.resolver.addresses_of(host, port)
        except socket.gaierror as error:
            raise error if self._origin.via is None else unreachable(self._origin.via, error) from None
        except ValueError as error:  # an empty label, or one that is too long
            raise AttemptNotMadeError("the target's URL cannot be used") from error


def _peer_of(sock: socket.socket) -> tuple[object, ...]:
    try:
        return tuple(sock.getpeername()[:2])
    except OSError:  # it was reset at once, which its transport will report
        return ()


def _numeric_addresses(host: str, port: int) -> Sequence[AddressInfo]:
    """Return the address that a host is, without a lookup; nothing if it is a name."""
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        return ()
