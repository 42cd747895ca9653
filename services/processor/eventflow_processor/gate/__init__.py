"""Gate: decides if an attempt of a flow may start now, and if its result counts."""
