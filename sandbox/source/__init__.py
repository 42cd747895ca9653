"""A source of events: sample webhooks, sent at a rate."""
