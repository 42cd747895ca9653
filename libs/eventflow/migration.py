"""The steps of a schema: numbered SQL files in a package, each of which is run once."""

from importlib.resources import files
from typing import NamedTuple


class Migration(NamedTuple):
    """One step. The first brings the schema to version 1, the next to version 2, and so on.

    Attributes:
        name: Name of its file without the suffix: `0001_attempts`.
        sql: Its statements, as a database administrator can run them.
    """

    name: str
    sql: str


def steps_in(package: str) -> tuple[Migration, ...]:
    """Return the steps in the SQL files of a package, in the order of their numbers."""
    found = [file for file in files(package).iterdir() if file.name.endswith(".sql")]
    return tuple(
        Migration(name=file.name.removesuffix(".sql"), sql=file.read_text("utf-8"))
        for file in sorted(found, key=lambda file: file.name)
    )
