"""Provides a PostgreSQL: one that the environment names, an installed one, a container, or a package to install."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from eventflow.service.lifecycle import EXIT_CONFIGURATION
from sandbox import docker, system_package
from sandbox.database import container, probe
from sandbox.database.container import Container
from sandbox.database.postgres import Postgres, ServerError, ServerInUseError
from sandbox.database.server import PrivateServer, find_programs
from sandbox.ports import free_port, usual_or_free_port
from sandbox.provided import NotAvailable, print_notice

DEFAULT_DIRECTORY = Path(".local")
URL_VARIABLE = "EVENTFLOW_TEST_DATABASE_URL"
_USUAL_PORT = 5432
_MAX_SERVERS_PER_DIRECTORY = 100

_WAYS_OUT = f"""\
This needs PostgreSQL, and found no way to start one. Do one of these:
  1. Use a PostgreSQL that runs:  export {URL_VARIABLE}=postgresql://user:password@host:5432/postgres
                                  (a user who may create databases and roles)
  2. Install PostgreSQL:          sudo apt-get install postgresql
                                  (or dnf install postgresql-server, brew install postgresql@17)
  3. Start Docker. It needs the image {container.DEFAULT_IMAGE} or must be able to pull it.
"""


class DatabaseNotAvailable(NotAvailable):
    """No PostgreSQL can be used or started here; the text lists the ways to get one."""


class DatabaseMisnamed(DatabaseNotAvailable):
    """The environment names a database by an invalid URL; the text does not show it."""

    exit_status = EXIT_CONFIGURATION


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """A PostgreSQL that answers.

    Attributes:
        url: URL of a database of it, for a user who may create databases and roles.
        server: Handle that stops, kills and freezes it; None for a server that the sandbox did not start.
    """

    url: str
    server: Postgres | None


@contextlib.contextmanager
def provide(
    directory: Path = DEFAULT_DIRECTORY,
    *,
    environ: Mapping[str, str] = os.environ,
    notify: Callable[[str], None] = print_notice,
) -> Iterator[Database]:
    """Yield a PostgreSQL; stop it afterwards if it was started here.

    The first of these is used: the one that EVENTFLOW_TEST_DATABASE_URL names; a private server from an installed
    PostgreSQL; a container if a Docker engine answers; a private server from the system package, which is installed
    after a notice.

    Args:
        directory: Directory for the data of a server that is started here.
        environ: Environment that may name a server.
        notify: Called with the notice.

    Raises:
        DatabaseNotAvailable: None of these works, or the server that the environment names does not answer.
        DatabaseMisnamed: The environment names a server by an invalid URL.
    """
    if url := environ.get(URL_VARIABLE):
        yield _named(url)
        return
    server = _start_private(directory) if ensure(notify=notify) else _start_container()
    try:
        yield Database(url=server.url, server=server)
    finally:
        server.stop()


def ensure(*, notify: Callable[[str], None] = print_notice) -> bool:
    """Make sure that PostgreSQL can be started here, and install it if needed.

    Returns:
        True if a private server can be started, False if a container can.

    Raises:
        DatabaseNotAvailable: Neither can be started, and PostgreSQL cannot be installed.
    """
    if find_programs():
        return True
    if docker.engine_answers() and docker.image_available(container.DEFAULT_IMAGE):
        return False
    try:
        system_package.install(system_package.POSTGRESQL, notify)
    except system_package.InstallError as error:
        raise DatabaseNotAvailable(f"{_WAYS_OUT}The installation failed: {error}") from error
    return True


def _named(url: str) -> Database:
    try:
        address = probe.ServerAddress.of(url)
    except ValueError as error:
        raise DatabaseMisnamed(f"{URL_VARIABLE} is {error}") from None
    if not probe.answers(address):
        raise DatabaseNotAvailable(
            f"{URL_VARIABLE} names a server at {address.host}:{address.port}, but no PostgreSQL answers there.\n"
            f"Start it, or unset {URL_VARIABLE}: then one is started for you."
        )
    return Database(url=url, server=None)


def _start_private(directory: Path) -> PrivateServer:
    """Start a server in the first directory that no other command uses, on the usual port if it is free."""
    for number in range(1, _MAX_SERVERS_PER_DIRECTORY):
        home = directory / ("postgres" if number == 1 else f"postgres-{number}")
        server = PrivateServer(home, port=usual_or_free_port(_USUAL_PORT))
        try:
            server.start()
        except ServerInUseError:
            continue
        except ServerError:
            # Another program may have taken the usual port meanwhile; any other cause fails the second start too.
            server = PrivateServer(home, port=free_port())
            _start(server)
        return server
    raise DatabaseNotAvailable(f"{_MAX_SERVERS_PER_DIRECTORY - 1} servers already run in {directory}")


def _start_container() -> Container:
    server = Container(port=usual_or_free_port(_USUAL_PORT))
    _start(server)
    return server


def _start(server: Postgres) -> None:
    try:
        server.start()
    except ServerError as error:
        raise DatabaseNotAvailable(f"PostgreSQL is installed but does not start: {error}") from error
