"""All of Event Flow on one machine: broker, target, collector, two processors and the console (`make run-local`)."""
