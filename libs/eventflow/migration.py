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


def mismatch_of(version: int, *, needed: int, title: str, command: str) -> str | None:
    """Return a sentence about a version of a schema that is not the one of this program; None if it is."""
    if version == needed:
        return None
    if version > needed:
        return f"{title} is of version {version}, later than {needed}: update Event Flow"
    state = f"is of version {version}, and {needed} is needed" if version else "is missing"
    return f"{title} {state}: run `{command}` as the owner of the schema"
