"""Files of a spool: events that wait on disk for the broker, and the one owner of each file."""
