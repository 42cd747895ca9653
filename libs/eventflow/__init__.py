"""What the collector and the processor must agree on: events, messages, queues, settings and how they are settled."""
