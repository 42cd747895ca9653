"""RabbitMQ for developers and tests: a node, a cluster, a container, and links to them that can be cut."""
