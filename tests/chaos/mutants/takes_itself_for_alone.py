"""A processor that counts itself only, and so spends the whole quota of its flow."""

from eventflow_processor import __main__ as processor
from eventflow_processor.quota import quota
from eventflow_processor.quota.roster import Roster


class Mutant(Roster):
    """Roster that never counts a peer."""

    def consumers_counted(self, consumers: int, *, began_s: float, is_proved: bool = True) -> None:
        super().consumers_counted(min(consumers, 1), began_s=began_s, is_proved=is_proved)


if __name__ == "__main__":
    quota.Roster = Mutant  # type: ignore[misc]
    processor.main()
