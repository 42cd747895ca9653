"""The history in PostgreSQL, for the processes of any number of machines. It requires the extra `postgres`."""
