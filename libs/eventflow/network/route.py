"""Routes: connections to a broker over any of its addresses that works."""

import asyncio
import socket
from typing import Any
from weakref import WeakKeyDictionary

from aiohappyeyeballs import start_connection

from eventflow.network.resolver import NEXT_ADDRESS_AFTER_S, Resolver

_resolvers: "WeakKeyDictionary[asyncio.AbstractEventLoop, Resolver]" = WeakKeyDictionary()
"""The resolver of all connections to brokers, so that they share the lookup of a name. There is one for each event
loop, because a lookup belongs to the loop that waits for it."""


class Route:
    """Connects to a port of a host over any of its addresses, and remembers which of them worked.

    An address can accept connections and then be silent, which only the handshake shows. So the caller reports each
    connection as worked or failed: the address that worked last is tried first, and those that failed are tried last.
    """

    def __init__(self, host: str, port: int) -> None:
        """Prepare; the name is looked up by `connect`."""
        self._host = host
        self._port = port
        self._ranks: dict[tuple[Any, ...], int] = {}
        self._rank_max = 0
        self._latest: tuple[Any, ...] | None = None

    async def connect(self) -> socket.socket:
        """Connect to the first address that answers.

        Each attempt begins 250 ms after the one before, or as soon as that one has failed.

        Raises:
            OSError: No address can be connected to, or the name cannot be looked up.
            RuntimeError: The same, in some cases with uvloop.
        """
        self._latest = None
        try:
            found = await self._resolver.addresses_of(self._host, self._port)
        except UnicodeError as error:  # an empty label, or one that is too long
            raise socket.gaierror(socket.EAI_NONAME, f"{self._host} is not a name that can be looked up") from error
        addresses = sorted(found, key=lambda address: self._ranks.get(address[-1][:2], 0))
        connected = await start_connection(addresses, happy_eyeballs_delay=NEXT_ADDRESS_AFTER_S)
        self._latest = connected.getpeername()[:2]
        return connected

    def worked(self) -> None:
        """Try the address of the latest connection first from now on."""
        if self._latest is not None:
            self._ranks = {address: max(0, rank) for address, rank in self._ranks.items()} | {self._latest: -1}

    def failed(self) -> None:
        """Try the address of the latest connection last from now on, and look the name up again before the next one."""
        self._resolver.doubt(self._host, self._port)
        if self._latest is not None:
            self._rank_max += 1
            self._ranks[self._latest] = self._rank_max

    @property
    def _resolver(self) -> Resolver:
        return _resolvers.setdefault(asyncio.get_running_loop(), Resolver())
