"""`eventflow history`: commands for the attempts on record."""
