"""Depths of the queues that no processor consumes."""

from functools import partial
from typing import Any

import pytest

from eventflow.amqp.presence import Presence
from eventflow.amqp.queues import QueueDepth
from eventflow.errors import BrokerUnavailableError
from eventflow_processor.backlog import depths as module
from eventflow_processor.backlog.depths import Depths, FlowQueues


class Meter:
    """A meter that gets no answer for one queue."""

    def __init__(self, _: object) -> None: ...

    async def depth(self, queue: str) -> QueueDepth | None:
        if queue == "broken":
            raise BrokerUnavailableError("no majority")
        return QueueDepth(messages=3, consumers=0)


async def test_a_queue_that_does_not_answer_does_not_hide_those_of_the_flows_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "QueueMeter", Meter)
    seen: dict[str, int] = {}
    flows = [
        FlowQueues(queues={queue: partial(seen.__setitem__, queue)}, busy_at_s=lambda: 0.0) for queue in ("broken", "b")
    ]
    depths = Depths([], flows=flows, name="look", presence=Presence())
    connection: Any = None
    with pytest.raises(BrokerUnavailableError):
        await depths._session(connection)
    assert seen == {"b": 3}
