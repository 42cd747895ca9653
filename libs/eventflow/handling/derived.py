"""Events that a handler derives from the one it handles. Pure."""

import hashlib
from dataclasses import dataclass, fields
from typing import Final, Self

from eventflow.event import ATTRIBUTE_MAX_BYTES, Event


@dataclass(slots=True, kw_only=True)
class DerivedEvent(Event):
    """An event for another flow.

    Attributes:
        flow: The flow that it goes into.
    """

    flow: Final[str]

    @classmethod
    def of(cls, event: Event, *, flow: str) -> Self:
        """Direct an event into a flow."""
        return cls(flow=flow, **{field.name: getattr(event, field.name) for field in fields(event)})


def derived_id(event_id: str, number: int) -> str:
    """Return the id of the n-th event that is derived from another: the same on every repetition.

    It is `ID/N`. If that is longer than an id may be, a hash of it takes its place.
    """
    plain = f"{event_id}/{number}"
    return plain if len(plain.encode()) <= ATTRIBUTE_MAX_BYTES else hashlib.sha256(plain.encode()).hexdigest()
