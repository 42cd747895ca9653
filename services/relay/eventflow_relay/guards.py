"""Checks before the start: the relay has a database, and the library for it."""

from importlib.util import find_spec

from eventflow.errors import SettingsError
from eventflow.settings.root import Settings

EXTRA = "event-flow[postgres]"


def database_url_of(settings: Settings) -> str:
    """Return the URL of the database with the outbox, after a check that its driver is installed.

    Raises:
        SettingsError: One of them is missing.
    """
    if settings.relay.database_url is None:
        raise SettingsError(
            "EVENTFLOW_RELAY__DATABASE_URL is not set: the URL of the database with the outbox is expected, such as "
            "postgresql://user:password@host/database"
        )
    if find_spec("asyncpg") is None:
        raise SettingsError(f"the relay requires the package asyncpg: pip install '{EXTRA}'")
    return settings.relay.database_url.get_secret_value()
