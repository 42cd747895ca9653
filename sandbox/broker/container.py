"""RabbitMQ in a container, for machines that have a Docker engine and no RabbitMQ."""

import os
import secrets
from pathlib import Path

from typing_extensions import override

from sandbox import docker
from sandbox.broker.node import NodeError
from sandbox.broker.rabbitmq import RabbitMQ
from sandbox.ports import LOOPBACK

DEFAULT_IMAGE = "rabbitmq:4-management"
_AMQP_PORT = 5672
_MANAGEMENT_PORT = 15672
# RabbitMQ accepts the user guest from loopback only. Connections through a published port have another source address,
# so the rule is lifted; the ports are published on the host's loopback only.
_CONFIGURATION = f"""\
loopback_users = none
listeners.tcp.default = {_AMQP_PORT}
management.tcp.port = {_MANAGEMENT_PORT}
disk_free_limit.absolute = 50MB
"""


class Container(RabbitMQ):
    """RabbitMQ node in a container, published on loopback. Both `stop` and `kill` delete its data.

    Args:
        directory: Directory for its configuration file.
        image: Image that starts RabbitMQ with the management plugin and reads /etc/rabbitmq/rabbitmq.conf.
        amqp_port: Port for AMQP clients; by default a free one, as for the other port.
        management_port: Port of the management UI and API.
    """

    def __init__(
        self,
        directory: Path,
        *,
        image: str = DEFAULT_IMAGE,
        amqp_port: int | None = None,
        management_port: int | None = None,
    ) -> None:
        super().__init__(address=LOOPBACK, amqp_port=amqp_port, management_port=management_port)
        self.directory = directory.resolve()
        self.image = image
        self.name = f"eventflow-rabbitmq-{os.getpid()}-{secrets.token_hex(3)}"

    @property
    @override
    def alive(self) -> bool:
        return docker.is_running(self.name)

    @override
    def start(self, timeout_s: float = 90.0) -> None:
        """Start it and wait until it serves AMQP and the management API.

        Raises:
            NodeError: It did not become ready; the text ends with its last output.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        configuration = self.directory / "rabbitmq.conf"
        configuration.write_text(_CONFIGURATION)
        configuration.chmod(0o644)  # the user inside the container must be able to read it
        docker.start(
            self.name,
            *("--hostname", "eventflow"),
            *("--publish", f"{LOOPBACK}:{self.amqp_port}:{_AMQP_PORT}"),
            *("--publish", f"{LOOPBACK}:{self.management_port}:{_MANAGEMENT_PORT}"),
            *("--volume", f"{configuration}:/etc/rabbitmq/rabbitmq.conf:ro"),
            self.image,
            is_ready=self._ready,
            what=f"a RabbitMQ from {self.image}",
            timeout_s=timeout_s,
            error=NodeError,
        )

    @override
    def stop(self) -> None:
        self.kill()  # its data are deleted in any case, so a clean stop would only take time

    @override
    def kill(self) -> None:
        docker.remove(self.name)

    @override
    def pause(self) -> None:
        docker.run("pause", self.name)

    @override
    def resume(self) -> None:
        docker.run("unpause", self.name)

    @override
    def ctl(self, *arguments: str) -> str:
        done = docker.run("exec", self.name, "rabbitmqctl", *arguments)
        if done.returncode != 0:
            raise NodeError(f"rabbitmqctl {' '.join(arguments)} failed: {done.stderr}{done.stdout}")
        return done.stdout

    def _ready(self) -> bool:
        return self.management_get("overview") is not None and self.speaks_amqp()
