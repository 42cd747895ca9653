"""Event Flow beside its peers and its ceilings, in one run: `make bench`."""
