"""PostgreSQL in a container, for machines that have a Docker engine and no PostgreSQL."""

import os
import secrets

from typing_extensions import override

from sandbox import docker
from sandbox.database.postgres import Postgres, ServerError
from sandbox.ports import LOOPBACK

DEFAULT_IMAGE = "postgres:17"
_PORT = 5432


class Container(Postgres):
    """PostgreSQL in a container, published on loopback. Both `stop` and `kill` delete its data."""

    def __init__(self, *, image: str = DEFAULT_IMAGE, port: int | None = None) -> None:
        super().__init__(port=port)
        self.image = image
        self.name = f"eventflow-postgres-{os.getpid()}-{secrets.token_hex(3)}"

    @property
    @override
    def alive(self) -> bool:
        return docker.is_running(self.name)

    @override
    def start(self, timeout_s: float = 90.0) -> None:
        """Start it and wait until it takes connections.

        Raises:
            ServerError: It did not become ready; the text ends with its last output.
        """
        docker.start(
            self.name,
            *("--publish", f"{LOOPBACK}:{self.port}:{_PORT}"),
            *("--env", f"POSTGRES_USER={self.login}", "--env", f"POSTGRES_PASSWORD={self.password}"),
            *("--env", "POSTGRES_DB=postgres"),
            *(self.image, "-c", "fsync=off", "-c", "max_connections=200"),
            is_ready=self.answers,
            what=f"a PostgreSQL from {self.image}",
            timeout_s=timeout_s,
            error=ServerError,
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
