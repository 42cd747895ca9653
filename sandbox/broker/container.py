"""RabbitMQ in a container, for machines that have a Docker engine and no RabbitMQ."""

import os
import secrets
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from sandbox.broker import probes
from sandbox.broker.node import NodeError
from sandbox.ports import LOOPBACK, free_port
from sandbox.processes import wait_until

DEFAULT_IMAGE = "rabbitmq:4-management"
_AMQP_PORT = 5672
_MANAGEMENT_PORT = 15672
_STARTER_LABEL = "eventflow.starter"  # the process id of the command that started a container
_QUICK_S = 30.0
_PULL_S = 600.0
# RabbitMQ lets guest in from loopback only. What comes through a published port has another address, and these are
# published on the host's loopback only.
_CONFIGURATION = f"""\
loopback_users = none
listeners.tcp.default = {_AMQP_PORT}
management.tcp.port = {_MANAGEMENT_PORT}
disk_free_limit.absolute = 50MB
"""


def engine_answers() -> bool:
    """Say whether there is a Docker engine that this user may use."""
    return shutil.which("docker") is not None and _docker("version", "--format", "{{.Server.Version}}").returncode == 0


def image_available(image: str = DEFAULT_IMAGE) -> bool:
    """Say whether the engine has the image, or can pull it now."""
    if _docker("image", "inspect", "--format", "{{.Id}}", image).returncode == 0:
        return True
    return _docker("pull", "--quiet", image, timeout_s=_PULL_S).returncode == 0


class Container:
    """A RabbitMQ node in a container, published on loopback. Its data end with it, at `stop` and at `kill`.

    Args:
        directory: Where its configuration is kept.
        image: Any that starts a RabbitMQ with its management plugin and reads /etc/rabbitmq/rabbitmq.conf.
        amqp_port: Published on loopback; a free port by default, like the next one.
        management_port: The management UI and API.
    """

    login = "guest"
    password = "guest"  # noqa: S105 - RabbitMQ's own default, on loopback

    def __init__(
        self,
        directory: Path,
        *,
        image: str = DEFAULT_IMAGE,
        amqp_port: int | None = None,
        management_port: int | None = None,
    ) -> None:
        self.directory = directory.resolve()
        self.image = image
        self.amqp_port = amqp_port or free_port()
        self.management_port = management_port or free_port()
        self.name = f"eventflow-rabbitmq-{os.getpid()}-{secrets.token_hex(3)}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """AMQP URL with login and password."""
        return f"amqp://{self.login}:{self.password}@{LOOPBACK}:{self.amqp_port}/"

    @property
    def management_url(self) -> str:
        """Base URL of the management UI and API, with a slash at its end."""
        return f"http://{LOOPBACK}:{self.management_port}/"

    @property
    def alive(self) -> bool:
        """Whether the engine reports the container as running."""
        inspected = _docker("inspect", "--format", "{{.State.Running}}", self.name)
        return inspected.returncode == 0 and inspected.stdout.strip() == "true"

    def start(self, timeout_s: float = 90.0) -> None:
        """Start it and wait until it serves AMQP and the management API.

        Raises:
            NodeError: It did not come up; the text ends with what it said last.
        """
        _remove_orphans()
        try:
            self._run()
            wait_until(
                lambda: self._ready() or not self.alive,
                timeout_s=timeout_s,
                what=f"a RabbitMQ from {self.image}",
            )
        except TimeoutError as error:
            said = _docker("logs", "--tail", "15", self.name)
            self.kill()
            raise NodeError(f"{error}\n{said.stdout}{said.stderr}") from error
        except BaseException:
            self.kill()
            raise
        if not self.alive:
            raise NodeError(f"the container of {self.image} ended while it came up")

    def stop(self) -> None:
        """Remove it: as its data end with it, there is nothing to close cleanly."""
        self.kill()

    def kill(self) -> None:
        """End it at once."""
        _docker("rm", "--force", "--volumes", self.name)

    def pause(self) -> None:
        """Freeze it: its connections stay open and say nothing."""
        _docker("pause", self.name)

    def resume(self) -> None:
        """Undo `pause`."""
        _docker("unpause", self.name)

    def ctl(self, *arguments: str) -> str:
        """Run `rabbitmqctl` in it and return what it printed.

        Raises:
            NodeError: It failed.
        """
        done = _docker("exec", self.name, "rabbitmqctl", *arguments)
        if done.returncode != 0:
            raise NodeError(f"rabbitmqctl {' '.join(arguments)} failed: {done.stderr}{done.stdout}")
        return done.stdout

    def _run(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        configuration = self.directory / "rabbitmq.conf"
        configuration.write_text(_CONFIGURATION)
        configuration.chmod(0o644)  # the container's own user reads it
        done = _docker(
            *("run", "--detach", "--rm", "--name", self.name, "--hostname", "eventflow"),
            *("--label", f"{_STARTER_LABEL}={os.getpid()}"),
            *("--publish", f"{LOOPBACK}:{self.amqp_port}:{_AMQP_PORT}"),
            *("--publish", f"{LOOPBACK}:{self.management_port}:{_MANAGEMENT_PORT}"),
            *("--volume", f"{configuration}:/etc/rabbitmq/rabbitmq.conf:ro"),
            self.image,
        )
        if done.returncode != 0:
            raise NodeError(f"docker run {self.image}: {done.stderr.strip()}")

    def _ready(self) -> bool:
        seen = probes.management_get(self.management_url, "overview", login=self.login, password=self.password)
        return seen is not None and probes.speaks_amqp(probes.BrokerAddress.of(self.url))


def _remove_orphans() -> None:
    """Remove containers whose starter was killed before it could stop them."""
    line = f'{{{{.ID}}}} {{{{.Label "{_STARTER_LABEL}"}}}}'
    listed = _docker("ps", "--filter", f"label={_STARTER_LABEL}", "--format", line)
    for identifier, starter in (entry.split() for entry in listed.stdout.splitlines()):
        try:
            os.kill(int(starter), 0)
        except ProcessLookupError:
            _docker("rm", "--force", "--volumes", identifier)
        except PermissionError:
            continue  # it lives, and is another user's


def _docker(*arguments: str, timeout_s: float = _QUICK_S) -> subprocess.CompletedProcess[str]:
    command = ["docker", *arguments]
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
            start_new_session=True,  # a Ctrl-C is for the sandbox, which stops the container in its turn
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, returncode=1, stdout="", stderr=str(error))
