"""PostgreSQL for developers and tests: a private server, or a container."""
