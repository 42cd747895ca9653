"""A function of the user's as a target: each attempt is one call, in a transaction of their database."""
