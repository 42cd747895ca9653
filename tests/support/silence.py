"""An address that swallows connections, as a host without power does or a firewall that drops."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

from tests.support.wait import eventually

ANSWERS_WITHIN_S = 0.2
SYN_SENT = b"\x02"
"""State of a client that has no answer: one that came late, on a busy machine, has connected it meanwhile."""


@asynccontextmanager
async def silence(address: str, port: int) -> AsyncIterator[str]:
    """Swallow every connection to an address of loopback while the context is open.

    A listener whose queue is full drops what comes next, and nothing tells its peers.
    """
    with ExitStack() as stack:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listener = stack.enter_context(socket.socket(family))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(0)

        async def is_silent() -> bool:
            client = stack.enter_context(socket.socket(family))
            client.setblocking(False)
            try:
                async with asyncio.timeout(ANSWERS_WITHIN_S):
                    await asyncio.get_running_loop().sock_connect(client, (address, port))
            except TimeoutError:
                return client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == SYN_SENT
            return False

        await eventually(is_silent, what="silence")
        yield address
