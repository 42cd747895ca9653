"""Transactions of a function without a database: its events are published and confirmed before its own is acked."""

from collections.abc import Callable, Sequence
from typing import Protocol

from typing_extensions import override

from eventflow.handling.derived import DerivedEvent
from eventflow.handling.inbox import Key
from eventflow.handling.transactions.port import Transaction, Transactions

CONFIRM_MAX_S = 4.0
"""Longest wait for the confirms of the events of one call. They keep their ids if the call is repeated."""


class Publishing(Protocol):
    """A publish that has begun."""

    async def confirmed(self, *, timeout_s: float) -> None:
        """Return once the broker has confirmed; otherwise raise an error."""
        ...


Publish = Callable[[DerivedEvent], Publishing]
"""Begins to publish an event into its flow."""


class Emission(Transaction):
    """Keeps the events of one call until it is over."""

    db = None

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._events: Sequence[DerivedEvent] = ()

    @override
    async def claim(self, key: Key) -> bool:
        return True  # there is no inbox

    @override
    async def put(self, events: Sequence[DerivedEvent]) -> None:
        self._events = events

    @override
    async def commit(self) -> None:
        for publishing in [self._publish(event) for event in self._events]:
            await publishing.confirmed(timeout_s=CONFIRM_MAX_S)

    @override
    async def end(self) -> None:
        pass

    @override
    def is_lost(self) -> bool:
        return False


class Emissions(Transactions):
    """Begins an `Emission` for each call."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish

    @override
    async def begin(self) -> Emission:
        return Emission(self._publish)

    @override
    async def close(self) -> None:
        pass
