"""A processor that acks a delivery before it publishes the dead letter, a common mistake."""

from eventflow.amqp.consumer import Consumer
from eventflow.delivery import Delivery
from eventflow.message import encode
from eventflow.outcome import Copied, DeadLetter
from eventflow.topology import dead_queue
from eventflow_processor import flow
from eventflow_processor.__main__ import main


class Mutant(Consumer):
    """Consumer with the wrong order for dead letters; other outcomes are unchanged."""

    async def settle(self, delivery: Delivery, outcome: Copied) -> Copied:
        if not isinstance(outcome, DeadLetter):
            return await super().settle(delivery, outcome)
        delivery.ack()
        await self._publisher.publish(encode(outcome.envelope), queue=dead_queue(self._flow)).confirmed(timeout_s=10)
        return outcome


if __name__ == "__main__":
    flow.Consumer = Mutant  # type: ignore[attr-defined]
    main()
