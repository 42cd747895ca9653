"""The faults, by the part that they concern."""
