"""Measurements of Event Flow: each benchmark is one command that prints one table."""
