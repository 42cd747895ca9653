"""Names that a handler uses: a function of yours to which the events of a flow go (docs/handlers.md)."""

from eventflow.event import Event
from eventflow.handling.context import Context
from eventflow.handling.derived import DerivedEvent
from eventflow.handling.orders import Reject, RetryLater

__all__ = ["Context", "DerivedEvent", "Event", "Reject", "RetryLater"]
