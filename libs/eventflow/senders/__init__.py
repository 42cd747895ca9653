"""Senders of webhooks as values: the vocabulary that describes one, and the table of those that are known."""
