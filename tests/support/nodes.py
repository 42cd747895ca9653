"""Private brokers of tests."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from sandbox.broker.node import NodeError, PrivateNode
from tests.support.means import cannot


@contextmanager
def running_node(directory: Path, **options: Any) -> Iterator[PrivateNode]:
    """Run a node with its data in a directory, which is deleted at the end of the run; `options` are the node's."""
    try:
        node = PrivateNode(directory, **options)
    except NodeError as error:
        cannot(f"no node of our own: {error}")
    node.start()
    try:
        yield node
    finally:
        node.kill()  # its data are deleted in any case, and a clean stop takes 6 s


@asynccontextmanager
async def memory_alarm(node: PrivateNode) -> AsyncIterator[None]:
    """Let the node have a memory alarm while the context is open. Then it reads no messages from publishers."""
    set_limit = "vm_memory_monitor:set_vm_memory_high_watermark"
    await asyncio.to_thread(node.evaluate, f"{set_limit}({{absolute, 1}})")
    try:
        yield
    finally:
        await asyncio.to_thread(node.evaluate, f"{set_limit}(0.4)")


async def close_all_connections(node: PrivateNode, reason: str) -> None:
    """Let the node close all connections of its clients, with a reason that it sends to them."""
    close = f'rabbit_networking:close_connection(Pid, <<"{reason}">>)'
    await asyncio.to_thread(node.evaluate, f"[{close} || Pid <- rabbit_networking:connections()]")
