"""Faults of handlers and of relays: a database in which each event takes effect once."""
