"""A message that a consumer has received, to be settled once. Pure: the channel that settles it is a port."""

import time
from typing import Protocol

from eventflow.message import Envelope
from eventflow.topology import Lane


class SettlingChannel(Protocol):
    """Port of the delivering channel. A settlement only writes a frame, so these calls do not wait."""

    @property
    def is_open(self) -> bool:
        """Whether deliveries of this channel can still be settled."""

    def settle(self, tag: int, *, requeue: bool) -> None:
        """Ack a delivery, or requeue it.

        Raises:
            DeliveryLostError: The channel is gone.
        """

    def dead_letter(self, tag: int) -> None:
        """Let the broker move a delivery, unchanged, to the dead-letter target of its queue.

        Raises:
            DeliveryLostError: The channel is gone.
        """


class Delivery:
    """A message that this process has received, to be settled once; a second settlement does nothing.

    Attributes:
        envelope: The event, and the state of its delivery.
        received_s: Time of receipt, by the monotonic clock.
        received_at_ns: The same moment in Unix time.
        attempts_here: Number of turns since its receipt; more than 1 if it was held in memory in between.
    """

    __slots__ = ("_channel", "_held", "_tag", "attempts_here", "envelope", "lane", "received_at_ns", "received_s")

    def __init__(self, *, envelope: Envelope, lane: Lane, channel: SettlingChannel, tag: int, held: "Held") -> None:
        """Enter it into `held`, where it stays until it is settled."""
        self.envelope = envelope
        self.lane = lane
        self.received_s = time.monotonic()
        self.received_at_ns = time.time_ns()
        self.attempts_here = 0
        self._channel = channel
        self._tag = tag
        self._held = held
        held[tag] = self

    @property
    def is_current(self) -> bool:
        """Whether it can still be settled: it is unsettled, and its channel is open.

        After the end of that channel, the broker delivers the message again.
        """
        return self._tag in self._held and self._channel.is_open

    def ack(self) -> None:
        """Settle the message as done, so that the broker deletes it.

        Raises:
            DeliveryLostError: The channel is gone. Its delivery tag is not valid on any other channel.
        """
        self._settle(requeue=False)

    def requeue(self) -> None:
        """Requeue the message, at its old position if that is possible.

        Raises:
            DeliveryLostError: The channel is gone, so the broker has requeued it already.
        """
        self._settle(requeue=True)

    def dead_letter(self) -> None:
        """Let the broker move the message to the dead queue as it is; no limit on publishes applies to that.

        Raises:
            DeliveryLostError: The channel is gone, so the broker has requeued it already.
        """
        if self._tag in self._held:
            self._channel.dead_letter(self._tag)
            self._held.pop(self._tag, None)

    def _settle(self, *, requeue: bool) -> None:
        if self._tag in self._held:  # a second settlement of one tag would close the channel
            self._channel.settle(self._tag, requeue=requeue)
            self._held.pop(self._tag, None)


Held = dict[int, Delivery]
"""Unsettled deliveries of one channel by delivery tag, the oldest first."""
