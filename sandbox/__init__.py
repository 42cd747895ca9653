"""The outside world on one machine: RabbitMQ, a source of events, and a target that audits its requests."""
