"""Senders of webhooks: how each signs, and where it puts the attributes of an event."""
