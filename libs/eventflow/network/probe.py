"""Probes: connections to a target that only show whether it can be reached. No HTTP is sent on them."""

import asyncio
import ssl
from collections.abc import Sequence

from eventflow.network.dial import dial
from eventflow.network.failure import is_answer_in_tls
from eventflow.network.http_proxy import Via
from eventflow.network.resolver import AddressInfo


async def reach(
    addresses: Sequence[AddressInfo], *, server_name: str, tls: ssl.SSLContext | None, via: Via | None = None
) -> None:
    """Connect to the first address that answers, with TLS if a context is given, and close the connection.

    Args:
        addresses: Of the proxy if there is one, else of the target.
        server_name: The name in the target's certificate.
        tls: The context for the target.
        via: The proxy.

    Raises:
        OSError: No address could be reached, or TLS failed; `network.failure.detail_of` returns the word for it.
    """
    transport, _ = await asyncio.get_running_loop().create_connection(
        asyncio.Protocol,
        sock=await dial(addresses, via=via),
        ssl=tls,
        server_hostname=server_name.rstrip(".") if tls else None,  # certificates never have the final dot
    )
    transport.abort()


async def speaks_tls(addresses: Sequence[AddressInfo], *, within_s: float) -> bool:
    """Whether a port answers a TLS handshake with TLS, within `within_s`. The certificate does not matter."""
    anything = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anything.check_hostname, anything.verify_mode = False, ssl.CERT_NONE
    try:
        async with asyncio.timeout(within_s):
            await reach(addresses, server_name="", tls=anything)  # a server that requires a name answers too
    except OSError as error:
        return is_answer_in_tls(error)
    return True
