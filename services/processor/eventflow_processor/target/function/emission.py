"""Transactions of a function without a database: its events are published and confirmed before its own is acked."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from typing_extensions import override

from eventflow.errors import PublishTimeoutError
from eventflow.handling.derived import DerivedEvent
from eventflow.handling.inbox import Key
from eventflow.handling.transactions.port import ThreadTransaction, ThreadTransactions, Transaction, Transactions

CONFIRM_MAX_S = 4.0
"""Longest wait for the confirm of an event. If the call is repeated, its events have the same ids."""


class Publishing(Protocol):
    """A publish that has begun."""

    async def confirmed(self, *, timeout_s: float) -> None:
        """Return once the broker has confirmed; otherwise raise an error."""
        ...


Publish = Callable[[DerivedEvent], Publishing]
"""Begins to publish an event into its flow."""


class Emissions(Transactions):
    """Begins an `Emission` for each call."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish

    @override
    async def begin(self) -> "Emission":
        return Emission(self._publish)

    @override
    async def close(self) -> None:
        pass


class Emission(Transaction):
    """The events of one call, which are published when it is over. There is no inbox, so every event is new."""

    db = None

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._events: Sequence[DerivedEvent] = ()

    @override
    async def claim(self, key: Key) -> bool:
        return True

    @override
    async def put(self, events: Sequence[DerivedEvent]) -> None:
        self._events = events

    @override
    async def commit(self) -> None:
        await _publish_all(self._events, self._publish)

    @override
    async def end(self) -> None:
        pass

    @override
    def is_lost(self) -> bool:
        return False


class ThreadEmissions(ThreadTransactions):
    """Begins a `ThreadEmission` for each call."""

    def __init__(self, publish: Publish) -> None:
        """Publish on the loop that runs now."""
        self._publish = publish
        self._loop = asyncio.get_running_loop()

    @override
    def begin(self) -> "ThreadEmission":
        return ThreadEmission(self._publish, self._loop)

    @override
    def close(self) -> None:
        pass


class ThreadEmission(ThreadTransaction):
    """The same as `Emission`, for a function on a thread."""

    db = None

    def __init__(self, publish: Publish, loop: asyncio.AbstractEventLoop) -> None:
        self._publish = publish
        self._loop = loop
        self._events: Sequence[DerivedEvent] = ()

    @override
    def claim(self, key: Key) -> bool:
        return True

    @override
    def put(self, events: Sequence[DerivedEvent]) -> None:
        self._events = events

    @override
    def commit(self) -> None:
        if self._events:
            asyncio.run_coroutine_threadsafe(_publish_all(self._events, self._publish), self._loop).result()

    @override
    def end(self) -> None:
        pass

    @override
    def is_lost(self) -> bool:
        return False


async def _publish_all(events: Sequence[DerivedEvent], publish: Publish) -> None:
    try:
        async with asyncio.timeout(CONFIRM_MAX_S):
            for publishing in [publish(event) for event in events]:
                await publishing.confirmed(timeout_s=CONFIRM_MAX_S)
    except TimeoutError:  # as for a database it would mean that the database is away
        raise PublishTimeoutError(f"no confirm within {CONFIRM_MAX_S:g} s") from None
