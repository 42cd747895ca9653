"""Private brokers of tests."""

from collections.abc import Iterator
from contextlib import contextmanager
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
