"""A `Resolver` in the form that aiohttp's client needs. Use it with `use_dns_cache=False`: the resolver has a cache."""

import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from typing_extensions import override

from eventflow.network.resolver import Resolver

_NUMERIC = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV


class HttpResolver(AbstractResolver):
    """Passes the addresses of a `Resolver` to aiohttp."""

    def __init__(self, resolver: Resolver) -> None:
        """Look up with `resolver`."""
        self._resolver = resolver

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                # Formatted by the system, which appends the zone of a link-local address. The first part lacks it.
                host=socket.getnameinfo(address, _NUMERIC)[0] if kind == socket.AF_INET6 else address[0],
                port=port,
                family=kind,
                proto=protocol,
                flags=_NUMERIC,
            )
            for kind, _, protocol, _, address in await self._resolver.addresses_of(host, port)
            if family in {socket.AF_UNSPEC, kind}
        ]

    @override
    async def close(self) -> None:
        """Do nothing: the resolver is shared, and has nothing to close."""
