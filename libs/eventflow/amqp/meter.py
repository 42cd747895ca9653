"""Measures queues again and again, over one channel."""

import asyncio

from aiormq import Channel

from eventflow.amqp.channel import is_missing, open_channel
from eventflow.amqp.connection import Connection
from eventflow.amqp.queues import QueueDepth, measure
from eventflow.errors import BrokerUnavailableError
from eventflow.tasks import finished

MISSING_FOR_S = 5.0
"""Time for which a missing queue counts as missing: each check of one closes the channel, and writes an error to the
log of the broker."""


class QueueMeter:
    """Measures queues on one connection. A measurement takes one round trip."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._channel: Channel | None = None
        self._missed_s: dict[str, float] = {}
        self._turn = asyncio.Lock()  # a missing queue closes the channel, which would fail a request beside it

    async def depth(self, queue: str) -> QueueDepth | None:
        """Count a queue's ready messages and consumers; None if it did not exist within the last 5 s.

        Raises:
            BrokerUnavailableError: The broker does not answer.
        """
        now_s = asyncio.get_running_loop().time()
        missed_s = self._missed_s.get(queue)
        if missed_s is not None and now_s - missed_s < MISSING_FOR_S:
            return None
        async with self._turn:
            # To its end: the library closes the channel of a cancelled request, and can lose the connection.
            return await finished(self._measure(queue, now_s))

    async def _measure(self, queue: str, now_s: float) -> QueueDepth | None:
        if self._channel is None or self._channel.is_closed:
            self._channel = await open_channel(self._connection)
        try:
            depth = await measure(self._channel, queue)
        except BrokerUnavailableError as error:
            self._channel = None  # a request that fails closes its channel
            if not is_missing(error):
                raise
            self._missed_s[queue] = now_s
            return None
        self._missed_s.pop(queue, None)
        return depth
