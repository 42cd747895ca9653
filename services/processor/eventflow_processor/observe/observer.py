"""Observers of attempts, and the guard that keeps their errors from the events."""

from typing import Protocol

from eventflow_processor.attempt import Attempted


class Observer(Protocol):
    """Sees every finished attempt of one flow."""

    def attempted(self, attempted: Attempted) -> None:
        """Take note of a finished attempt, without blocking. An error in here is logged and counted, and ends here."""
        ...
