"""Attempts on record, with the target's answers. No event waits for its record."""
