"""Publishes the events in the outbox of a database."""
