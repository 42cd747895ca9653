"""A `Resolver` as aiohttp's client asks for one. Use it with `use_dns_cache=False`: the resolver has a cache."""

import socket

from aiohttp.abc import AbstractResolver, ResolveResult

from eventflow.network.resolver import Resolver

_NUMERIC = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV


class HttpResolver(AbstractResolver):
    """Passes on the addresses that a resolver finds."""

    def __init__(self, resolver: Resolver) -> None:
        """Look up with `resolver`."""
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a host; see `Resolver.addresses_of` for the errors."""
        return [
            ResolveResult(
                hostname=host,
                # With the scope of a link-local address, which the first part leaves out.
                host=socket.getnameinfo(address, _NUMERIC)[0] if kind == socket.AF_INET6 else address[0],
                port=port,
                family=kind,
                proto=protocol,
                flags=_NUMERIC,
            )
            for kind, _, protocol, _, address in await self._resolver.addresses_of(host, port)
            if family in {socket.AF_UNSPEC, kind}
        ]

    async def close(self) -> None:
        """Leave the resolver as it is."""
