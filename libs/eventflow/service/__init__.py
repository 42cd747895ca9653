"""Parts that every service has: start and stop, exit status, health and metrics endpoints."""
