"""The inbox: the events that have taken effect in a database, so that a duplicate takes no effect. Pure.

The key is (flow, source, id): ids of different senders collide, and each flow has a handler of its own.
"""

import hashlib
from typing import Final

from eventflow.event import Event

SOURCE_MAX_BYTES: Final = 1024
"""Longest source in the key. An entry of an index in PostgreSQL has room for 2 704 bytes."""

Key = tuple[str, str, str]
"""Flow, source and id."""


def key_of(event: Event, *, flow: str) -> Key:
    """Return the key of an event in the inbox of a flow."""
    source = event.source.encode()
    if len(source) <= SOURCE_MAX_BYTES:
        return flow, event.source, event.id
    return flow, f"sha256:{hashlib.sha256(source).hexdigest()}", event.id
