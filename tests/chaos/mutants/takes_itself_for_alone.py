"""A processor that counts itself only, and so spends the whole quota of its flow."""

from typing_extensions import override

from eventflow_processor import __main__ as processor
from eventflow_processor.quota import quota
from eventflow_processor.quota.lost import LostConsumers


class Mutant(LostConsumers):
    """Takes every peer for lost, and knows this forever."""

    @override
    def without_lost(self, consumers: int, *, began_s: float, ended_s: float) -> int:
        return super().without_lost(min(consumers, 1), began_s=began_s, ended_s=ended_s)


if __name__ == "__main__":
    quota.LostConsumers = Mutant  # type: ignore[attr-defined]
    processor.main()
