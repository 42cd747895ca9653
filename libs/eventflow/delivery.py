"""A message handed to a consumer, to be settled once. Pure: the channel that settles it is a port."""

import time
from typing import Protocol

from eventflow.message import Envelope
from eventflow.topology import Lane


class SettlingChannel(Protocol):
    """The channel that delivered, as a delivery needs it."""

    @property
    def is_open(self) -> bool:
        """Whether deliveries of this channel can still be settled."""

    async def settle(self, tag: int, *, requeue: bool) -> None:
        """Ack a delivery, or return it to its queue.

        Raises:
            DeliveryLostError: The channel is gone.
        """

    async def dead_letter(self, tag: int) -> None:
        """Have the broker move a delivery, whole, to the dead-letter target of its queue.

        Raises:
            DeliveryLostError: The channel is gone.
        """


class Delivery:
    """A message handed to us, to be settled once; settling it again does nothing."""

    __slots__ = ("_channel", "_held", "_tag", "attempts_here", "envelope", "lane", "received_at_ns", "received_s")

    def __init__(self, *, envelope: Envelope, lane: Lane, channel: SettlingChannel, tag: int, held: "Held") -> None:
        """Be held in `held` until it is settled."""
        self.envelope = envelope
        self.lane = lane
        self.received_s = time.monotonic()
        self.received_at_ns = time.time_ns()
        self.attempts_here = 0  # more than 1 for what was held in memory between two
        self._channel = channel
        self._tag = tag
        self._held = held
        held[tag] = self

    @property
    def is_current(self) -> bool:
        """Whether it can still be settled: it has not been yet, and the channel that delivered is open.

        If that channel is gone, the broker hands the message out again.
        """
        return self._tag in self._held and self._channel.is_open

    async def ack(self) -> None:
        """Tell the broker to forget the message.

        Raises:
            DeliveryLostError: The channel is gone. A tag means nothing on any other channel.
        """
        await self._settle(requeue=False)

    async def hand_back(self) -> None:
        """Return the message to its queue, in its old place where that is possible.

        Raises:
            DeliveryLostError: The channel is gone, so the broker has it back already.
        """
        await self._settle(requeue=True)

    async def dead_letter(self) -> None:
        """Have the broker move the message to the dead queue as it is, which no limit on publishes concerns.

        Raises:
            DeliveryLostError: The channel is gone, so the broker has it back already.
        """
        if self._tag in self._held:
            await self._channel.dead_letter(self._tag)
            self._held.pop(self._tag, None)

    async def _settle(self, *, requeue: bool) -> None:
        if self._tag in self._held:  # a second time would close the channel
            await self._channel.settle(self._tag, requeue=requeue)
            self._held.pop(self._tag, None)


Held = dict[int, Delivery]
"""What one channel has delivered and is not settled, by delivery tag; the oldest first."""
