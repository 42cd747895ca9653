"""A processor that takes itself for the only one of its flow, and spends the whole quota."""

from eventflow_processor import __main__ as processor
from eventflow_processor.quota import quota
from eventflow_processor.quota.roster import Roster


class Mutant(Roster):
    """Never sees a peer."""

    def looked(self, consumers: int, *, began_s: float) -> None:
        super().looked(min(consumers, 1), began_s=began_s)


if __name__ == "__main__":
    quota.Roster = Mutant  # type: ignore[misc]
    processor.main()
