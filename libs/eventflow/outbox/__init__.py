"""The outbox: events that a program puts into the transaction of its own changes, and that the relay publishes.

An application needs only these names (docs/handlers.md).
"""

from eventflow.errors import NoTransactionError
from eventflow.outbox.new_event import new_event
from eventflow.outbox.put import put, put_sync

__all__ = ["NoTransactionError", "new_event", "put", "put_sync"]
