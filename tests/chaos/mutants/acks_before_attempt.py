"""A processor that acks a delivery before its attempt."""

from eventflow_processor import flow
from eventflow_processor.__main__ import main
from eventflow_processor.handler import Handler
from eventflow_processor.turn import Turn


class Mutant(Handler):
    """Handler that acks first."""

    def begin(self, turn: Turn) -> None:
        turn.delivery.ack()
        super().begin(turn)


if __name__ == "__main__":
    flow.Handler = Mutant  # type: ignore[misc]
    main()
