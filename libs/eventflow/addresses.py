"""Addresses of names, looked up without a pool of threads, and connections to the first that answers.

A lookup can take as long as the system's resolver waits, 10 to 30 s if a name server does not answer. uvloop has four
threads for lookups and asyncio a pool that is joined at exit, so a few silent names would delay every other lookup and
the end of the process. Here each name has a thread of its own for as long as its lookup takes. The system's resolver
is kept, because an asynchronous one such as c-ares ignores nsswitch.conf.
"""

import asyncio
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from aiohappyeyeballs import start_connection
from aiohttp.abc import AbstractResolver, ResolveResult

AddrInfo = tuple[int, int, int, str, tuple[Any, ...]]
"""Family, type, protocol, canonical name and socket address, as `socket.getaddrinfo` returns them."""

NEXT_ADDRESS_AFTER_S = 0.25
"""How long an address may take to answer before the next is tried beside it, as RFC 8305 recommends."""

LOOKUP_PATIENCE_S = 1.0
"""How long a lookup may take if addresses are known from an earlier one."""

_under_way: dict[tuple[str, int], "Future[Sequence[AddrInfo]]"] = {}
_lock = threading.Lock()
"""Of the whole process, so that there are never more threads than names, however many ask for each."""


async def resolve(host: str, port: int) -> Sequence[AddrInfo]:
    """Look up the addresses to connect to, in the order of the system's preference.

    All who ask for the same at the same time share one lookup. There is no time limit: use `asyncio.timeout`. A
    lookup that is given up goes on in its thread, which ends with the process.

    Raises:
        OSError: The name has no address, or it could not be looked up.
    """
    try:
        return _look_up(host, port, flags=socket.AI_NUMERICHOST)
    except OSError:
        pass  # no address, so it is a name
    return await asyncio.wrap_future(_lookup_of(host, port))


class Resolver(AbstractResolver):
    """Looks up names for aiohttp."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a name.

        Raises:
            OSError: It has none, or it could not be looked up.
        """
        return [
            ResolveResult(
                hostname=host,
                host=socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0],
                port=port,
                family=found_family,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for found_family, _, protocol, _, address in await resolve(host, port)
            if family in {socket.AF_UNSPEC, found_family}
        ]

    async def close(self) -> None:
        """Do nothing: nothing is kept."""


class Route:
    """The way to a port of a host over any of its addresses.

    An address can take connections and then be silent. So those that failed later than by refusing are tried last, and
    the one that worked last is tried first.
    """

    def __init__(self, host: str, port: int) -> None:
        """Look nothing up yet."""
        self._host = host
        self._port = port
        self._known: Sequence[AddrInfo] = ()
        self._ranks: dict[tuple[Any, ...], int] = {}
        self._rank_max = 0
        self._latest: tuple[Any, ...] | None = None

    async def connect(self) -> socket.socket:
        """Connect to the first address that answers: each begins 250 ms after the one before, or when that has failed.

        Raises:
            OSError: None can be connected to, or the name cannot be looked up.
            RuntimeError: uvloop's for some of these.
        """
        self._latest = None
        addresses = sorted(await self._addresses(), key=lambda found: self._ranks.get(found[-1][:2], 0))
        connected = await start_connection(addresses, happy_eyeballs_delay=NEXT_ADDRESS_AFTER_S)
        self._latest = connected.getpeername()[:2]
        return connected

    def worked(self) -> None:
        """Try the address of the latest connection first from now on."""
        if self._latest is not None:
            self._ranks = {address: max(0, rank) for address, rank in self._ranks.items()} | {self._latest: -1}

    def failed(self) -> None:
        """Try the address of the latest connection last from now on."""
        if self._latest is not None:
            self._rank_max += 1
            self._ranks[self._latest] = self._rank_max

    async def _addresses(self) -> Sequence[AddrInfo]:
        """Return the addresses; those of the latest lookup if the name servers do not answer now."""
        try:
            async with asyncio.timeout(LOOKUP_PATIENCE_S if self._known else None):
                self._known = await resolve(self._host, self._port)
        except OSError as error:  # a timeout too
            has_no_answer = isinstance(error, TimeoutError) or error.errno == socket.EAI_AGAIN
            if not (self._known and has_no_answer):
                raise
        return self._known


def _lookup_of(host: str, port: int) -> "Future[Sequence[AddrInfo]]":
    """Return the lookup that is under way, or start one.

    Raises:
        OSError: No thread can be started.
    """
    with _lock:
        lookup = _under_way.get((host, port))
        if lookup is None:
            lookup = Future()
            lookup.set_running_or_notify_cancel()  # one who gives up must not cancel it for the others
            try:
                # A daemon, since the interpreter waits for every other thread before it exits.
                threading.Thread(target=_run, args=(lookup, host, port), name=f"lookup {host}", daemon=True).start()
            except RuntimeError as error:
                raise OSError(f"no thread for the lookup of {host}: {error}") from error
            _under_way[host, port] = lookup
        return lookup


def _run(lookup: "Future[Sequence[AddrInfo]]", host: str, port: int) -> None:
    try:
        found = _look_up(host, port)
    except OSError as error:
        _forget(host, port)
        lookup.set_exception(error)
    else:
        _forget(host, port)
        lookup.set_result(found)


def _forget(host: str, port: int) -> None:
    """Let the next who asks start a new lookup."""
    with _lock:
        del _under_way[host, port]


def _look_up(host: str, port: int, *, flags: int = 0) -> Sequence[AddrInfo]:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except UnicodeError as error:  # an empty label, or one that is too long
        raise socket.gaierror(socket.EAI_NONAME, f"{host} is no name that can be looked up") from error
