"""A relay that reads only rows behind the last one it has read."""

from eventflow_relay import relay, serving
from eventflow_relay.__main__ import main


class Mutant(relay.Relay):
    """Relay that never reads the outbox from its beginning again."""

    def _next_floor(self) -> int:
        return self._floor


if __name__ == "__main__":
    serving.Relay = Mutant  # type: ignore[attr-defined]
    main()
