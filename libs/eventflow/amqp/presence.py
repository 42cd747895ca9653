"""Queues that this process has seen, so that a lost one is reported, once."""

from collections.abc import Callable, Iterable

import structlog

from eventflow.topology import flow_of

log = structlog.stdlib.get_logger()


def _ignore(_: str) -> None:
    """Count nothing."""


class Presence:
    """Queues that were seen and must not disappear: a queue that is deleted or expires takes its messages with it."""

    def __init__(self, on_vanished: Callable[[str], None] = _ignore) -> None:
        """Start without any queue.

        Args:
            on_vanished: Called with the flow of a queue that has vanished.
        """
        self._on_vanished = on_vanished
        self._known: set[str] = set()

    def known(self, queues: Iterable[str]) -> list[str]:
        """Return the queues among these that existed at their last check."""
        return [queue for queue in queues if queue in self._known]

    def found(self, queue: str) -> None:
        """Note that a queue exists."""
        self._known.add(queue)

    def missed(self, queue: str) -> None:
        """Note that a queue does not exist, and report it if it did before."""
        if queue in self._known:
            self._known.discard(queue)
            flow = flow_of(queue) or "unknown"
            log.error("queue.vanished", flow=flow, queue=queue)
            self._on_vanished(flow)
