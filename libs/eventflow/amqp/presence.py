"""Queues that this process has seen, so that a lost one is reported, once."""

import itertools
from collections.abc import Callable, Iterable, Mapping

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
        self._known: dict[str, int] = {}
        self._numbers = itertools.count()

    def known(self, queues: Iterable[str]) -> Mapping[str, int]:
        """Return those of the queues that existed at their last check, each with the number of its discovery."""
        return {queue: self._known[queue] for queue in queues if queue in self._known}

    def found(self, queue: str) -> None:
        """Note that a queue exists."""
        if queue not in self._known:
            self._known[queue] = next(self._numbers)

    def missed(self, queue: str, discovery: int | None) -> None:
        """Note that a check has found no such queue, and report it if it existed before.

        Args:
            queue: The queue.
            discovery: The number that `known` had for it before the check; None if it was not known. If another
                connection has declared the queue since, the answer to the check is older and reports nothing.
        """
        if discovery is not None and self._known.get(queue) == discovery:
            del self._known[queue]
            flow = flow_of(queue) or "unknown"
            log.error("queue.vanished", flow=flow, queue=queue)
            self._on_vanished(flow)
