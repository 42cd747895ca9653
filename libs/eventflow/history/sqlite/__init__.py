"""The history in one file of this machine: SQLite, with its write-ahead log."""
