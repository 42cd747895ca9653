"""Attempts on record: what was sent, when, and the target's answers. A record is never on the way of an event."""
