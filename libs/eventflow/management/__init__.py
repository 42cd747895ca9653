"""RabbitMQ's management API, and the policies that are read through it."""
