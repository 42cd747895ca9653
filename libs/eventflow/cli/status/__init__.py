"""`eventflow status`: the number of events in each queue."""
