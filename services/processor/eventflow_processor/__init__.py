"""Delivers every event to its target, at the rate that the target allows."""
