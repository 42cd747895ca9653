"""Parts that the services share: events, messages, queues, settings, settlement; and what handlers and outboxes use."""

__version__ = "0.4.0"
