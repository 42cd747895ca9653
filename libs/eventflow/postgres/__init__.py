"""PostgreSQL as the history and the database of handlers use it. It requires the extra `postgres`."""
