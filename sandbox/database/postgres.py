"""A PostgreSQL that the sandbox started: its address, its login and the handles on it."""

import secrets
from abc import abstractmethod

from sandbox.database import probe
from sandbox.ports import LOOPBACK, free_port
from sandbox.startable import Startable

_LOGIN = "eventflow"
_DATABASE = "postgres"  # exists in every server


class ServerError(Exception):
    """A server could not start; the text gives the reason."""


class ServerInUseError(ServerError):
    """Another running command owns the server in this directory."""


class Postgres(Startable):
    """One server, which can be stopped, killed and frozen. Its login may do everything.

    Args:
        port: By default a free one.
        password: By default a new one.
    """

    login = _LOGIN

    def __init__(self, *, port: int | None = None, password: str | None = None) -> None:
        self.port = port or free_port()
        self.password = password or secrets.token_hex(16)

    @property
    def url(self) -> str:
        """URL of the database `postgres`, with login and password."""
        return f"postgresql://{self.login}:{self.password}@{LOOPBACK}:{self.port}/{_DATABASE}"

    @property
    @abstractmethod
    def alive(self) -> bool:
        """Whether it runs; it may not be ready yet."""

    @abstractmethod
    def kill(self) -> None:
        """End it at once with SIGKILL, as a crash would."""

    @abstractmethod
    def pause(self) -> None:
        """Freeze it (SIGSTOP): its connections stay open and carry nothing."""

    @abstractmethod
    def resume(self) -> None:
        """Undo `pause`."""

    def answers(self) -> bool:
        """Return whether it takes connections."""
        return probe.answers(probe.ServerAddress.of(self.url))
