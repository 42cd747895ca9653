"""Lookup of names on threads of our own, so that a name without an answer delays only itself.

A lookup blocks its thread for as long as the name servers are silent, up to half a minute, and cannot be interrupted.
asyncio makes all lookups of a process on a few shared threads (uvloop has four), and waits for them when the loop is
closed. Here each lookup has a thread of its own, and the end of the process does not wait for it.

The system's `getaddrinfo` is used, and not a resolver of another library. So a name means the same as for every other
program on the machine (/etc/hosts, search domains and ndots, nsswitch, a container's own name server), and the
addresses are in the order of RFC 6724.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from eventflow.threads import on_daemon_thread

AddressInfo: TypeAlias = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]
"""An address as `socket.getaddrinfo` returns it: family, kind, protocol, canonical name, socket address."""

LookUp: TypeAlias = Callable[[str, int], Sequence[AddressInfo]]

FRESH_S = 10.0
"""Time for which addresses are used without another lookup. `getaddrinfo` does not return the time to live."""

STALE_AFTER_S = 1.0
"""If a lookup takes longer than this, the previous addresses are used while it continues."""

LOOK_AGAIN_S = 1.0
"""Pause between lookups that failed while the previous addresses are in use."""

NEXT_ADDRESS_AFTER_S = 0.25
"""Time after which the next address is tried beside one that has not answered, as RFC 8305 recommends."""

GIVEN_UP_AFTER_S = 120.0
"""A lookup that takes longer hangs in the system and not at a name server, and may never end, so another one is
started. The limit doubles each time, so that only a few threads ever hang."""

_NO_SUCH_NAME = frozenset({socket.EAI_NONAME, socket.EAI_NODATA, socket.EAI_ADDRFAMILY})
"""Errors that mean: the name has no address. Any other error means that no name server has answered."""


@dataclass(slots=True)
class _Name:
    """The addresses of a name, and the lookup in progress."""

    addresses: Sequence[AddressInfo] = ()
    fresh_until_s: float = 0.0
    lookup: "asyncio.Future[Sequence[AddressInfo]] | None" = None
    began_s: float = 0.0
    given_up_after_s: float = GIVEN_UP_AFTER_S


class Resolver:
    """Looks names up for one purpose, such as one flow's target, and caches their addresses for 10 s.

    A name has at most one lookup in progress, apart from those that hang, and all callers share it. If no name server
    answers, the previous addresses stay in use.
    """

    def __init__(self, *, look_up: LookUp | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with an empty cache; the arguments are for tests."""
        self._look_up = look_up or _look_up
        self._clock = clock
        self._names: dict[tuple[str, int], _Name] = {}

    async def addresses_of(self, host: str, port: int) -> Sequence[AddressInfo]:
        """Return the addresses of a host, the preferred one first. It may be cancelled at any time.

        Raises:
            socket.gaierror: The name has no address; or no name server has answered, and there is no previous address.
            UnicodeError: The name is not valid, for example because a label is empty.
        """
        name = self._names.setdefault((host, port), _Name())
        if self._clock() < name.fresh_until_s:
            return name.addresses
        if name.lookup is not None and self._clock() - name.began_s > name.given_up_after_s:
            name.lookup = None
            name.given_up_after_s *= 2
        lookup = name.lookup or self._begin(name, host, port)
        patience_s = name.began_s + STALE_AFTER_S - self._clock() if name.addresses else None
        # Not awaited directly: a caller that is cancelled would cancel the lookup of all others.
        await asyncio.wait({lookup}, timeout=patience_s)
        return name.addresses if name.addresses or not lookup.done() else lookup.result()

    def doubt(self, host: str, port: int) -> None:
        """Look the host up before the next use, because nothing answered at its addresses."""
        if (name := self._names.get((host, port))) is not None:
            name.fresh_until_s = 0.0

    def _begin(self, name: _Name, host: str, port: int) -> "asyncio.Future[Sequence[AddressInfo]]":
        lookup = on_daemon_thread(partial(self._look_up, host, port), name=f"look up {host}")
        name.lookup, name.began_s = lookup, self._clock()
        # Added before any caller waits, so that the cache is up to date when the callers continue.
        lookup.add_done_callback(partial(self._end, name))
        return lookup

    def _end(self, name: _Name, lookup: "asyncio.Future[Sequence[AddressInfo]]") -> None:
        is_latest = name.lookup is lookup  # else it was given up: its addresses are used, but it decides nothing more
        if is_latest:
            name.lookup, name.given_up_after_s = None, GIVEN_UP_AFTER_S
        error = lookup.exception()
        if error is None:
            name.addresses, name.fresh_until_s = lookup.result(), self._clock() + FRESH_S
        elif is_latest and name.addresses and _is_without_answer(error):
            name.fresh_until_s = self._clock() + LOOK_AGAIN_S
        elif is_latest:
            name.addresses = ()


def _is_without_answer(error: BaseException) -> bool:
    return isinstance(error, socket.gaierror) and error.errno not in _NO_SUCH_NAME


def _look_up(host: str, port: int) -> Sequence[AddressInfo]:
    # With AI_ADDRCONFIG, a machine without IPv6 asks for no IPv6 addresses; some name servers never answer that
    # question. But the flag ignores the loopback interface, so it would hide ::1 and the IPv6 address of `localhost`.
    flags = 0 if ":" in host or host.rstrip(".").lower() == "localhost" else socket.AI_ADDRCONFIG
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [info for info in found if info[0] in {socket.AF_INET, socket.AF_INET6}]
