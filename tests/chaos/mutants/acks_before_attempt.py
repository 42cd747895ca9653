"""A processor that acks a delivery before its attempt."""

from eventflow.delivery import Delivery
from eventflow_processor import __main__ as processor
from eventflow_processor.handler import Handler, Turn


class Mutant(Handler):
    """Handler that acks first."""

    async def handle(self, turn: Turn, delivery: Delivery) -> None:
        delivery.ack()
        await super().handle(turn, delivery)


if __name__ == "__main__":
    processor.Handler = Mutant  # type: ignore[misc]
    processor.main()
