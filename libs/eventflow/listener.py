"""Where a service listens, and how that is reached from the same machine. Standard library only."""

import socket
from ipaddress import ip_address

DEFAULT_HOST = "127.0.0.1"
COLLECTOR_ADMIN_PORT = 9464
PROCESSOR_ADMIN_PORT = 9465


def listen(host: str, port: int, *, backlog: int) -> socket.socket:
    """Return a listening socket; `::` takes connections of IPv4 too, where the system can do both.

    Raises:
        OSError: The address cannot be bound.
    """
    family = _family_of(host)
    is_dual = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
    return socket.create_server((host, port), family=family, backlog=backlog, dualstack_ipv6=is_dual)


def reachable_hosts(host: str) -> tuple[str, ...]:
    """Return the addresses at which a listener on `host` is reached from the same machine, the likeliest first."""
    try:
        address = ip_address(host)
    except ValueError:
        return (host,)
    if not address.is_unspecified:
        return (host,)
    return ("127.0.0.1",) if address.version == 4 else ("::1", "127.0.0.1")


def _family_of(host: str) -> socket.AddressFamily:
    """Return IPv4 for a name that has both."""
    families = {found[0] for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    return socket.AF_INET if socket.AF_INET in families else socket.AF_INET6
