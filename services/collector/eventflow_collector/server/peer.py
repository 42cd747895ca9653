"""The address of the other end of a connection."""

import asyncio


def address_of(transport: asyncio.BaseTransport | None) -> str | None:
    """Return the IP address of the peer of a connection; None if the connection is gone, or not one of IP."""
    name = None if transport is None else transport.get_extra_info("peername")
    return name[0] if isinstance(name, tuple) else None
