"""Parts that the collector and the processor share: events, messages, queues, settings and settlement."""

__version__ = "0.3.0"
