"""Broadcasts between the processors of a flow, and the overrides that an operator sets while they run."""
