"""`eventflow status`: how many events wait in each queue."""
