"""The steps of the tables. All missing ones are run in one transaction."""

from eventflow.migration import steps_in

MIGRATIONS = steps_in(__name__)
"""The n-th brings the tables to version n."""
