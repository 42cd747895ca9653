"""Depths of the queues from which no processor consumes: the retry queues and the dead queue.

They are measured for all flows on one connection of its own. A request that fails, such as one for a deleted queue,
closes its channel and must not disturb a consumer.
"""

import asyncio
import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from eventflow.amqp.connection import Connection
from eventflow.amqp.meter import QueueMeter
from eventflow.amqp.presence import Presence
from eventflow.amqp.session import keep_connected
from eventflow.errors import BrokerUnavailableError

LOOK_EVERY_S = 5.0
RESTING_AT_A_LOOK = 10
"""Flows without events that are measured at one look. With more of them, each has its turn at a later look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowQueues:
    """The queues of one flow.

    Attributes:
        queues: A callback for each queue, by its name. It is called with the number of messages, which is 0 if the
            queue does not exist.
        busy_at_s: Returns the monotonic time at which the flow last had an event in this processor.
    """

    queues: Mapping[str, Callable[[int], None]]
    busy_at_s: Callable[[], float]


class Depths:
    """Regular measurement of queues: every 5 s for a flow with events, and more rarely for many without."""

    def __init__(self, urls: Sequence[str], *, flows: Sequence[FlowQueues], name: str, presence: Presence) -> None:
        """Describe the measurement; `run` connects.

        Args:
            flows: The queues of each flow.
            name: Shown in the management UI.
            presence: Reports queues that vanish: without a consumer nothing else would notice.
        """
        self._urls = urls
        self._presence = presence
        self._flows = flows
        self._name = name

    async def run(self) -> None:
        """Stay connected and measure until cancelled."""
        await keep_connected(self._urls, name=self._name, session=self._session)

    async def _session(self, connection: Connection) -> None:
        meter = QueueMeter(connection)
        looked_at_s: dict[int, float] = {}
        turns = math.ceil(len(self._flows) / RESTING_AT_A_LOOK)
        for look in itertools.count():
            failure: BrokerUnavailableError | None = None
            for number, flow in enumerate(self._flows):
                is_turn_of_resting = (look - number) % turns == 0
                # At least once after the latest event, so that the values of a flow at rest are those of its end.
                if number not in looked_at_s or is_turn_of_resting or flow.busy_at_s() > looked_at_s[number]:
                    looked_at_s[number] = time.monotonic()
                    try:
                        await self._measure(meter, flow)
                    except BrokerUnavailableError as error:
                        failure = error  # raised after the look: a broken queue must not hide the queues of later flows
            if failure is not None:
                raise failure
            await asyncio.sleep(LOOK_EVERY_S)

    async def _measure(self, meter: QueueMeter, flow: FlowQueues) -> None:
        for queue, on_depth in flow.queues.items():
            discovery = self._presence.known([queue]).get(queue)  # first: others may declare it during the check
            depth = await meter.depth(queue)
            if depth is None:
                self._presence.missed(queue, discovery)
            else:
                self._presence.found(queue)
            on_depth(depth.messages if depth else 0)
