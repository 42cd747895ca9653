"""The outside world on one machine: a RabbitMQ, a source, and a target that audits what it gets."""
