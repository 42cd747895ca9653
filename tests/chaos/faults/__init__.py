"""Faults, grouped by the part that fails."""
