"""The state of each flow and of the services, from the queues and from the reports of the services."""
