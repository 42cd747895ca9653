"""A processor that acks a delivery when its turn has come, before the target is called."""

from eventflow_processor import flow
from eventflow_processor.__main__ import main
from eventflow_processor.handler import Handler, Turn


class Mutant(Handler):
    """Has nothing to settle afterwards."""

    def begin(self, turn: Turn) -> None:
        turn.delivery.ack()
        super().begin(turn)


if __name__ == "__main__":
    flow.Handler = Mutant  # type: ignore[misc]
    main()
