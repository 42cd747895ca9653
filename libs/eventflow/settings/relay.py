"""The section `[relay]`. Pure."""

from pydantic import Field

from eventflow.settings.addresses import DEFAULT_HOST, RELAY_ADMIN_PORT
from eventflow.settings.fields import AdminHost, AdminPort, Section
from eventflow.settings.handler import DatabaseUrl


class RelaySettings(Section):
    """The service that publishes the events in the outbox of a database."""

    database_url: DatabaseUrl | None = Field(
        None, description="database with the outbox: `postgresql://user:password@host/database`; required by the relay"
    )
    admin_host: AdminHost = DEFAULT_HOST
    admin_port: AdminPort = RELAY_ADMIN_PORT
    poll_s: float = Field(0.25, ge=0.01, le=60, description="pause after the outbox was found empty")
    batch: int = Field(500, ge=1, le=5000, description="most rows that are taken in one transaction")
    max_tries: int = Field(
        10,
        ge=1,
        le=1000,
        description="failed publishes of one row, for a reason of its own, after which it is parked: it stays and is "
        "no longer tried",
    )
