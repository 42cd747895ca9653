"""A user's database with the tables inbox and outbox. It requires the extra `postgres`."""
