"""A processor that acks a delivery first and publishes its dead letter afterwards, the order that is found so often."""

from eventflow.amqp.consumer import Consumer
from eventflow.delivery import Delivery
from eventflow.message import encode
from eventflow.outcome import DeadLetter, Outcome
from eventflow.topology import dead_queue
from eventflow_processor import __main__ as processor


class Mutant(Consumer):
    """Settles everything else as ever."""

    async def settle(self, delivery: Delivery, outcome: Outcome) -> Outcome:
        if not isinstance(outcome, DeadLetter):
            return await super().settle(delivery, outcome)
        delivery.ack()
        await self._publisher.publish(encode(outcome.envelope), queue=dead_queue(self._flow)).confirmed(timeout_s=10)
        return outcome


if __name__ == "__main__":
    processor.Consumer = Mutant  # type: ignore[misc]
    processor.main()
