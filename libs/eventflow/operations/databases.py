"""The databases with inbox and outbox that the settings name. The driver is imported only if one is used."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from eventflow.database.rights import Use
from eventflow.errors import DatabaseUnavailableError, SettingsError
from eventflow.settings.environment import variable
from eventflow.settings.root import Settings

if TYPE_CHECKING:
    from eventflow.database.upkeep import DatabaseReport
    from eventflow.postgres.connections import Connections

EXTRA = "event-flow[postgres]"
APPLICATION = "eventflow"
RELAY_VARIABLE = variable(("relay", "database_url"))


def databases_of(settings: Settings) -> Mapping[str, frozenset[Use]]:
    """Return the URL of each database, with those who use it there.

    Raises:
        SettingsError: There is none.
    """
    uses: dict[str, frozenset[Use]] = {}
    if settings.relay.database_url is not None:
        uses[settings.relay.database_url.get_secret_value()] = frozenset({Use.RELAY})
    for flow in settings.all_flows.values():
        if flow.handler.database_url is not None:
            url = flow.handler.database_url.get_secret_value()
            uses[url] = uses.get(url, frozenset()) | {Use.HANDLER}
    if not uses:
        raise SettingsError(f"{RELAY_VARIABLE} is not set, and no handler has a database_url")
    return uses


def outbox_url_of(settings: Settings) -> str:
    """Return the URL of the database whose outbox the relay publishes.

    Raises:
        SettingsError: There is none.
    """
    if settings.relay.database_url is None:
        raise SettingsError(f"{RELAY_VARIABLE} is not set, so there is no outbox")
    return settings.relay.database_url.get_secret_value()


@asynccontextmanager
async def opened(url: str) -> AsyncIterator["Connections"]:
    """Open a database, and close it at the end.

    Raises:
        DatabaseUnavailableError: The driver is not installed.
    """
    try:
        from eventflow.database.connections import connections_to  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise DatabaseUnavailableError(f"it requires the package {error.name}: pip install '{EXTRA}'") from None
    connections = connections_to(url, application=APPLICATION)
    try:
        yield connections
    finally:
        await connections.close()


async def report_of(url: str, uses: Collection[Use]) -> "DatabaseReport":
    """Return the state of the tables in a database.

    Raises:
        DatabaseError: It cannot be reached.
    """
    async with opened(url) as connections:
        from eventflow.database import upkeep  # noqa: PLC0415 - `opened` has found the driver

        return await upkeep.check(connections, uses)


async def migrate(url: str) -> Sequence[str]:
    """Bring the tables in a database to the version of this program; return the names of the steps.

    Raises:
        DatabaseError: It cannot be reached, or the role may not do this.
    """
    async with opened(url) as connections:
        from eventflow.database import upkeep  # noqa: PLC0415 - the same

        return await upkeep.migrate(connections)
