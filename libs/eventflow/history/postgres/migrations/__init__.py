"""The steps of the schema: numbered SQL files, each of which is run once, in a transaction with all others."""

from importlib.resources import files

from eventflow.history.migration import Migration

MIGRATIONS = tuple(
    Migration(name=file.name.removesuffix(".sql"), sql=file.read_text("utf-8"))
    for file in sorted(files(__name__).iterdir(), key=lambda file: file.name)
    if file.name.endswith(".sql")
)
"""The n-th brings the schema to version n."""
