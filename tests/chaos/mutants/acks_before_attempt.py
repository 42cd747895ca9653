"""A processor that acks a delivery as soon as it has it, before the target is called."""

import asyncio
from typing import Any

import processor.__main__ as processor
from eventflow.consumer import Consumer, Delivery, Sink
from eventflow.outcome import Outcome


class AckingSink:
    """Acks whatever comes, then hands it on."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._acks: set[asyncio.Task[None]] = set()

    def put(self, delivery: Delivery) -> None:
        self._acks.add(asyncio.create_task(delivery.ack()))
        self._sink.put(delivery)


class Mutant(Consumer):
    """Has nothing to settle afterwards."""

    def __init__(self, *args: Any, sink: Sink, **kwargs: Any) -> None:
        super().__init__(*args, sink=AckingSink(sink), **kwargs)

    async def settle(self, delivery: Delivery, outcome: Outcome) -> None:
        pass


if __name__ == "__main__":
    processor.Consumer = Mutant  # type: ignore[misc]
    processor.main()
