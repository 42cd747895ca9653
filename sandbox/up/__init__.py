"""All of Event Flow on one machine: broker, target, collector and two processors (`make run-local`)."""
