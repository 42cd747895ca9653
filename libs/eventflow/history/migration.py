"""The steps of a schema. Pure."""

from typing import NamedTuple


class Migration(NamedTuple):
    """One step. The first brings the schema to version 1, the next to version 2, and so on.

    Attributes:
        name: Name of its file without the suffix: `0001_attempts`.
        sql: Its statements, as a database administrator can run them.
    """

    name: str
    sql: str
