"""Messages between services, and the overrides that an operator sets while they run."""
