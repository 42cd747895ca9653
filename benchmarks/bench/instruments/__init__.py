"""Load generators, targets and clients that cost little themselves."""
