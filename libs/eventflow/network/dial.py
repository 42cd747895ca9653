"""Sockets to a target: connected to it, or to its proxy and through that."""

import asyncio
import re
import socket
from collections.abc import Callable, Sequence
from typing import Any

import aiohappyeyeballs

from eventflow.network.failure import PROXY_REFUSED, PROXY_UNREACHABLE, ProxyError, text_of
from eventflow.network.http_proxy import Via
from eventflow.network.resolver import NEXT_ADDRESS_AFTER_S, AddressInfo

TUNNEL_HEAD_MAX_BYTES = 16 * 1024

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})\b")


async def dial(
    addresses: Sequence[AddressInfo],
    *,
    via: Via | None = None,
    socket_factory: Callable[[tuple[Any, ...]], socket.socket] | None = None,
) -> socket.socket:
    """Connect to the first address that answers, and open a tunnel if TLS follows through a proxy.

    Args:
        addresses: Of the proxy if there is one, else of the target.
        via: The proxy.
        socket_factory: Creates the socket for an address.

    Raises:
        ProxyError: The proxy cannot be reached, or opens no tunnel.
        OSError: No address of the target could be reached.
    """
    try:
        sock = await aiohappyeyeballs.start_connection(
            addresses, happy_eyeballs_delay=NEXT_ADDRESS_AFTER_S, interleave=1, socket_factory=socket_factory
        )
    except OSError as error:
        raise error if via is None else unreachable(via, error) from None
    if via is None or via.tunnel_to is None:
        return sock
    try:
        await _open_tunnel(sock, via, via.tunnel_to)
    except BaseException:
        sock.close()
        raise
    return sock


def unreachable(via: Via, error: OSError) -> ProxyError:
    """Return the error for a proxy that is not resolved or not connected to."""
    return ProxyError(PROXY_UNREACHABLE, f"{via.proxy.place}: {text_of(error) or type(error).__name__}")


def refused(via: Via, reason: str) -> ProxyError:
    """Return the error for a proxy that opens no tunnel."""
    return ProxyError(PROXY_REFUSED, f"{via.proxy.place}: {reason}")


async def _open_tunnel(sock: socket.socket, via: Via, destination: str) -> None:
    lines = [f"CONNECT {destination} HTTP/1.1", f"Host: {destination}"]
    if (authorization := via.proxy.authorization) is not None:
        lines.append(f"Proxy-Authorization: {authorization}")
    loop = asyncio.get_running_loop()
    head = b""
    try:
        await loop.sock_sendall(sock, "\r\n".join((*lines, "", "")).encode())
        while b"\r\n\r\n" not in head:
            if not (received := await loop.sock_recv(sock, 4096)) or len(head) > TUNNEL_HEAD_MAX_BYTES:
                raise refused(via, "it closed the connection" if not received else "the head of its answer is too long")
            head += received
    except ConnectionError as error:
        raise refused(via, text_of(error) or type(error).__name__) from None
    status = _STATUS.match(head)
    if status is None:
        raise refused(via, "its answer is not HTTP")
    if not status[1].startswith(b"2"):
        raise refused(via, f"HTTP {status[1].decode()}")  # and no more of it: it may repeat the password
    if not head.endswith(b"\r\n\r\n"):  # the target speaks only after our first TLS record
        raise refused(via, "bytes follow the head of its answer")
