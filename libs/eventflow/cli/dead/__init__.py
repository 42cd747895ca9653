"""`eventflow dead`: commands for dead letters."""
