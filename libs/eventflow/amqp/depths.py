"""How deep the queues are that nobody consumes from: retries that wait, and the given-up.

On a connection of its own, so that a look at a queue that somebody deleted disturbs no consumer.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from eventflow.amqp.connection import Connection
from eventflow.amqp.presence import Presence
from eventflow.amqp.queues import depth_of
from eventflow.amqp.session import keep_connected

LOOK_EVERY_S = 5.0


class Depths:
    """Looks at queues regularly."""

    def __init__(
        self, urls: Sequence[str], *, queues: Mapping[str, Callable[[int], None]], name: str, presence: Presence
    ) -> None:
        """Prepare; nothing connects before `run`.

        Args:
            queues: Who is told the number of messages, by the queue's name; 0 for a queue that does not exist.
            name: Shown in the management UI.
            presence: Learns which queues exist, and reports those that vanish. These queues have no consumer
                that would notice.
        """
        self._urls = urls
        self._presence = presence
        self._queues = queues
        self._name = name

    async def run(self) -> None:
        """Stay connected and look for ever."""
        await keep_connected(self._urls, name=self._name, session=self._session)

    async def _session(self, connection: Connection) -> None:
        while True:
            for queue, tell in self._queues.items():
                depth = await depth_of(connection, queue)
                if depth is None:
                    self._presence.missed(queue)
                else:
                    self._presence.found(queue)
                tell(depth.messages if depth else 0)
            await asyncio.sleep(LOOK_EVERY_S)
