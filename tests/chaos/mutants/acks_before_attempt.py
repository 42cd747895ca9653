"""A processor that acks a delivery before its attempt."""

from eventflow_processor import flow
from eventflow_processor.__main__ import main
from eventflow_processor.turn import Turn
from eventflow_processor.turns import Turns


class Mutant(Turns):
    """Turns that ack first."""

    def begin(self, turn: Turn) -> None:
        turn.delivery.ack()
        super().begin(turn)


if __name__ == "__main__":
    flow.Turns = Mutant  # type: ignore[attr-defined]
    main()
