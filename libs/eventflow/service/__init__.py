"""The parts that every service has: start, end, exit status, and the admin port."""
