"""A RabbitMQ that the sandbox started: its addresses, its login and the handles on it."""

from abc import abstractmethod
from typing import Any

from sandbox.broker import probes
from sandbox.ports import free_port
from sandbox.startable import Startable

_LOGIN = "guest"  # RabbitMQ's default user, which it accepts from loopback only


class RabbitMQ(Startable):
    """One node that can be stopped, killed and frozen.

    Args:
        address: Address of both listeners.
        amqp_port: Port for AMQP clients; by default a free one.
        management_port: Port of the management UI and API; by default a free one.
    """

    login = _LOGIN
    password = _LOGIN

    def __init__(self, *, address: str, amqp_port: int | None, management_port: int | None) -> None:
        self.amqp_port = amqp_port or free_port()
        self.management_port = management_port or free_port()
        self._address = address

    @property
    def url(self) -> str:
        """AMQP URL with login and password."""
        return f"amqp://{self.login}:{self.password}@{self._address}:{self.amqp_port}/"

    @property
    def management_url(self) -> str:
        """Base URL of the management UI and API, with a slash at its end."""
        return f"http://{self._address}:{self.management_port}/"

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

    @abstractmethod
    def ctl(self, *arguments: str) -> str:
        """Run `rabbitmqctl` against it and return the output.

        Raises:
            NodeError: The command failed.
        """

    def management_get(self, path: str) -> Any:
        """Return the JSON that its management API answers to `GET /api/{path}`; None if there is no such answer."""
        return probes.management_get(self.management_url, path, login=self.login, password=self.password)

    def speaks_amqp(self) -> bool:
        """Return whether it answers on its AMQP port."""
        return probes.speaks_amqp(probes.BrokerAddress.of(self.url))
