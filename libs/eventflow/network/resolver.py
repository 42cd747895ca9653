"""Names to addresses, on threads of our own, so that a name that is not answered delays nothing but itself.

A lookup blocks its thread for as long as the name servers stay silent, up to half a minute, and nothing can interrupt
it. asyncio makes all lookups of a process on a few shared threads (uvloop has four) and waits for them when the loop
is closed. Here each name that is being looked up has one thread, which is left behind at the end of the process.

The system's own `getaddrinfo` answers, and not a resolver of another library: names mean what they mean to every other
program on the machine (/etc/hosts, search domains and ndots, nsswitch, a container's own name server), and the
addresses come in the order of RFC 6724.
"""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

AddressInfo: TypeAlias = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]
"""An address as `socket.getaddrinfo` returns it: family, kind, protocol, canonical name, socket address."""

LookUp: TypeAlias = Callable[[str, int], Sequence[AddressInfo]]

FRESH_S = 10.0
"""Addresses are used for so long without another lookup. `getaddrinfo` does not return the records' time to live."""

STALE_AFTER_S = 1.0
"""If a lookup takes longer than this, the previous addresses are used while it goes on."""

LOOK_AGAIN_S = 1.0
"""Pause between lookups that failed while the previous addresses are in use."""

NEXT_ADDRESS_AFTER_S = 0.25
"""How long an address may take to answer before the next one is tried beside it, as RFC 8305 recommends."""

GIVEN_UP_AFTER_S = 120.0
"""A lookup that takes longer hangs in the system, not at a name server, and may do so for ever: another is begun beside
it. Each time the limit is doubled, so that few threads are left behind however long that goes on."""

_NO_SUCH_NAME = frozenset({socket.EAI_NONAME, socket.EAI_NODATA, socket.EAI_ADDRFAMILY})
"""Answers that the name has no address; any other error means that there was no answer."""


@dataclass(slots=True)
class _Name:
    """What is known of a name, and the lookup that is under way."""

    addresses: Sequence[AddressInfo] = ()
    fresh_until_s: float = 0.0
    lookup: "asyncio.Future[Sequence[AddressInfo]] | None" = None
    began_s: float = 0.0
    given_up_after_s: float = GIVEN_UP_AFTER_S


class Resolver:
    """Looks names up for one purpose, such as one flow's target, and remembers their addresses for 10 s.

    At most one lookup per name is under way, but for those that hang; all that ask for the name meanwhile share it. If
    no name server answers, the addresses that were found last stay in use.
    """

    def __init__(self, *, look_up: LookUp | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """Start knowing no name."""
        self._look_up = look_up or _look_up
        self._clock = clock
        self._names: dict[tuple[str, int], _Name] = {}

    async def addresses_of(self, host: str, port: int) -> Sequence[AddressInfo]:
        """Return the addresses of a host, the preferred first. It may be cancelled at any time.

        Raises:
            socket.gaierror: The name has no address, or no name server answered and none was known.
            UnicodeError: The name cannot be one, such as one with an empty label.
        """
        name = self._names.setdefault((host, port), _Name())
        if self._clock() < name.fresh_until_s:
            return name.addresses
        if name.lookup is not None and self._clock() - name.began_s > name.given_up_after_s:
            name.lookup = None
            name.given_up_after_s *= 2
        lookup = name.lookup or self._begin(name, host, port)
        patience_s = name.began_s + STALE_AFTER_S - self._clock() if name.addresses else None
        await asyncio.wait({lookup}, timeout=patience_s)  # which, unlike awaiting it, never cancels it
        return lookup.result() if lookup.done() else name.addresses

    def doubt(self, host: str, port: int) -> None:
        """Look the host up before the next use, because nothing answered at its addresses."""
        if (name := self._names.get((host, port))) is not None:
            name.fresh_until_s = 0.0

    def _begin(self, name: _Name, host: str, port: int) -> "asyncio.Future[Sequence[AddressInfo]]":
        loop = asyncio.get_running_loop()
        lookup: asyncio.Future[Sequence[AddressInfo]] = loop.create_future()

        def work() -> None:
            found: Sequence[AddressInfo] | Exception
            try:
                found = self._look_up(host, port)
            except Exception as error:  # noqa: BLE001 - passed on to those who wait
                found = error
            with suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(self._end, name, lookup, found)

        # Not an executor: the interpreter would wait at its exit for the threads of one.
        threading.Thread(target=work, name=f"look up {host}", daemon=True).start()
        name.lookup, name.began_s = lookup, self._clock()
        return lookup

    def _end(
        self,
        name: _Name,
        lookup: "asyncio.Future[Sequence[AddressInfo]]",
        found: Sequence[AddressInfo] | Exception,
    ) -> None:
        is_latest = name.lookup is lookup
        if is_latest:
            name.lookup, name.given_up_after_s = None, GIVEN_UP_AFTER_S
        if not isinstance(found, Exception):
            name.addresses, name.fresh_until_s = found, self._clock() + FRESH_S
        elif is_latest and name.addresses and isinstance(found, socket.gaierror) and found.errno not in _NO_SUCH_NAME:
            name.fresh_until_s = self._clock() + LOOK_AGAIN_S
        else:
            if is_latest:
                name.addresses = ()
            lookup.set_exception(found)
            lookup.exception()  # noted as seen: those who asked may all have been cancelled
            return
        lookup.set_result(name.addresses)


def _look_up(host: str, port: int) -> Sequence[AddressInfo]:
    # With AI_ADDRCONFIG a machine without IPv6 asks for no IPv6 addresses, which some name servers never answer. It
    # disregards the loopback interface, so it would hide the one of `localhost` that a server listens on, and ::1.
    flags = 0 if ":" in host or host.rstrip(".").lower() == "localhost" else socket.AI_ADDRCONFIG
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [info for info in found if info[0] in {socket.AF_INET, socket.AF_INET6}]
