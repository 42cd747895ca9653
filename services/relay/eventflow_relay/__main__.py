"""`eventflow-relay`: publishes the events in the outbox of a database until a signal."""

from eventflow.service.entry import begin, imported

begin()

from typing import Annotated

from eventflow.service.command import ConfigOption, start_service
from eventflow.service.program import run_program, version_option
from eventflow.settings.roles import Role
from eventflow.settings.root import Settings
from eventflow_relay.guards import database_url_of

imported()

SERVICE = "eventflow-relay"


def command(config: ConfigOption = None, _version: Annotated[bool, version_option(SERVICE)] = False) -> None:
    """Publish the events that programs have put into the outbox of their database."""

    async def run(settings: Settings, _: int) -> None:
        database_url = database_url_of(settings)
        from eventflow_relay.serving import serve  # noqa: PLC0415 - it needs the extra, for which the line above looks

        await serve(settings, database_url, service=SERVICE)

    start_service(SERVICE, Role.RELAY, run, config=config, guards=[])


def main() -> None:
    """Entry point of `eventflow-relay`."""
    run_program(command)


if __name__ == "__main__":
    main()
