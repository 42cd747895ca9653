"""Admission: when an attempt of a flow may start, and how its result counts."""
