"""The steps of the tables. All missing ones are run in one transaction."""

from typing import Final

from eventflow.migration import steps_in

TITLE: Final = "the schema of inbox and outbox"
MIGRATE_COMMAND: Final = "eventflow database migrate"

MIGRATIONS = steps_in(__name__)
"""The n-th brings the tables to version n."""
