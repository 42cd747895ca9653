"""What a handler works with: a function of yours that operates on the events of a flow (docs/handlers.md)."""

from eventflow.event import Event
from eventflow.handling.context import Context
from eventflow.handling.derived import DerivedEvent
from eventflow.handling.orders import Reject, RetryLater

__all__ = ["Context", "DerivedEvent", "Event", "Reject", "RetryLater"]
