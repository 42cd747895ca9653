"""The host names by which the console may be reached. Pure.

A page of an attacker can make its own name resolve to 127.0.0.1 (DNS rebinding). A browser then takes the console for
a part of that page, and nothing but the header `Host` shows the difference.
"""

import re
from collections.abc import Collection
from ipaddress import ip_address
from typing import Final

LOOPBACK_NAMES: Final = frozenset({"localhost", "ip6-localhost", "ip6-loopback"})

_HOST: Final = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, as seen from itself."""
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return _plain(host) in LOOPBACK_NAMES


class Hosts:
    """The accepted hosts: loopback, the one in the settings, further ones there, and the address of a connection.

    The last one is safe: an address cannot be rebound, as a name can.
    """

    def __init__(self, host: str, more: Collection[str]) -> None:
        self._names = frozenset(map(_plain, (host, *more)))

    def accept(self, header: str, *, local_address: str | None) -> bool:
        """Whether a request may have this `Host`.

        Args:
            header: The value of the header.
            local_address: The address at which the connection arrived; None if it is unknown.
        """
        found = _HOST.fullmatch(header)
        if found is None:
            return False
        name = _plain(found["name"])
        return name in self._names or is_loopback(name) or (local_address is not None and name == _plain(local_address))


def _plain(host: str) -> str:
    """Return a host as it is compared: in lower case, without brackets and final dot; an address in its usual form."""
    plain = host.strip().removeprefix("[").removesuffix("]").partition("%")[0].lower().removesuffix(".")
    try:
        address = ip_address(plain)
    except ValueError:
        return plain
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
