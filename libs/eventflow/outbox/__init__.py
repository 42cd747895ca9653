"""The outbox: events that a program puts into the transaction of its own changes, and that the relay publishes."""
