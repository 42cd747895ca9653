"""Depths of the queues from which no processor consumes: the retry queues and the dead queue.

They are measured on a connection of their own. A request that fails, such as one for a deleted queue, closes its
channel and must not disturb a consumer.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from eventflow.amqp.connection import Connection
from eventflow.amqp.presence import Presence
from eventflow.amqp.queues import depth_of
from eventflow.amqp.session import keep_connected

LOOK_EVERY_S = 5.0


class Depths:
    """Regular measurement of queues, every 5 s."""

    def __init__(
        self, urls: Sequence[str], *, queues: Mapping[str, Callable[[int], None]], name: str, presence: Presence
    ) -> None:
        """Describe the measurement; `run` connects.

        Args:
            queues: A callback for each queue, by its name. It is called with the number of messages, which is 0 if the
                queue does not exist.
            name: Shown in the management UI.
            presence: Reports queues that vanish: without a consumer nothing else would notice.
        """
        self._urls = urls
        self._presence = presence
        self._queues = queues
        self._name = name

    async def run(self) -> None:
        """Stay connected and measure until cancelled."""
        await keep_connected(self._urls, name=self._name, session=self._session)

    async def _session(self, connection: Connection) -> None:
        while True:
            for queue, on_depth in self._queues.items():
                discovery = self._presence.known([queue]).get(queue)  # first: others may declare it during the check
                depth = await depth_of(connection, queue)
                if depth is None:
                    self._presence.missed(queue, discovery)
                else:
                    self._presence.found(queue)
                on_depth(depth.messages if depth else 0)
            await asyncio.sleep(LOOK_EVERY_S)
