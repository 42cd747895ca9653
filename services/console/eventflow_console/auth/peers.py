"""The address of the person behind a request, with or without proxies in front. Pure."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

FORWARDED_MAX = 20
"""Addresses in X-Forwarded-For that are read, from the last one. A request passes fewer proxies."""

Networks = Sequence[IPv4Network | IPv6Network]


def is_within(address: str | None, networks: Networks) -> bool:
    """Whether an address is in one of the networks."""
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in networks)


def visitor_of(peer: str | None, forwarded_for: str, trusted: Networks) -> str:
    """Return the place that a request comes from, for counting: an address, or the network of an IPv6 address.

    A proxy adds the address of its own peer at the end of X-Forwarded-For. So the last one that is no trusted proxy is
    the visitor, and all before it are the visitor's own claims.

    Args:
        peer: The other end of the connection.
        forwarded_for: X-Forwarded-For, which counts only if the peer is trusted.
        trusted: The proxies.
    """
    place = peer
    for claimed in reversed(forwarded_for.split(",")[-FORWARDED_MAX:]):
        if not is_within(place, trusted) or _parsed(claimed.strip()) is None:
            break
        place = claimed.strip()
    parsed = _parsed(place)
    if isinstance(parsed, IPv6Address):
        # One person has at least a /64, so its addresses count together.
        return str(ip_network((parsed, 64), strict=False))
    return "unknown" if parsed is None else str(parsed)


def _parsed(text: str | None) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address((text or "").partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
