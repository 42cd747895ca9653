"""RabbitMQ in a container, for machines that have a Docker engine and no RabbitMQ."""

import os
import secrets
import shutil
import subprocess
from pathlib import Path

from typing_extensions import override

from sandbox.broker.node import NodeError
from sandbox.broker.rabbitmq import RabbitMQ
from sandbox.ports import LOOPBACK
from sandbox.processes import wait_until

DEFAULT_IMAGE = "rabbitmq:4-management"
_AMQP_PORT = 5672
_MANAGEMENT_PORT = 15672
_STARTER_LABEL = "eventflow.starter"  # its value is the process id of the command that started the container
_QUICK_S = 30.0
_PULL_S = 600.0
# RabbitMQ accepts the user guest from loopback only. Connections through a published port have another source address,
# so the rule is lifted; the ports are published on the host's loopback only.
_CONFIGURATION = f"""\
loopback_users = none
listeners.tcp.default = {_AMQP_PORT}
management.tcp.port = {_MANAGEMENT_PORT}
disk_free_limit.absolute = 50MB
"""


def engine_answers() -> bool:
    """Return whether a Docker engine answers that this user may use."""
    return shutil.which("docker") is not None and _docker("version", "--format", "{{.Server.Version}}").returncode == 0


def image_available(image: str = DEFAULT_IMAGE) -> bool:
    """Return whether the engine has the image or can pull it now."""
    if _docker("image", "inspect", "--format", "{{.Id}}", image).returncode == 0:
        return True
    return _docker("pull", "--quiet", image, timeout_s=_PULL_S).returncode == 0


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
        inspected = _docker("inspect", "--format", "{{.State.Running}}", self.name)
        return inspected.returncode == 0 and inspected.stdout.strip() == "true"

    @override
    def start(self, timeout_s: float = 90.0) -> None:
        """Start it and wait until it serves AMQP and the management API.

        Raises:
            NodeError: It did not become ready; the text ends with its last output.
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
            logs = _docker("logs", "--tail", "15", self.name)
            self.kill()
            raise NodeError(f"{error}\n{logs.stdout}{logs.stderr}") from error
        except BaseException:
            self.kill()
            raise
        if not self.alive:
            raise NodeError(f"the container of {self.image} ended while it started")

    @override
    def stop(self) -> None:
        self.kill()  # its data are deleted in any case, so a clean stop would only take time

    @override
    def kill(self) -> None:
        _docker("rm", "--force", "--volumes", self.name)

    @override
    def pause(self) -> None:
        _docker("pause", self.name)

    @override
    def resume(self) -> None:
        _docker("unpause", self.name)

    @override
    def ctl(self, *arguments: str) -> str:
        done = _docker("exec", self.name, "rabbitmqctl", *arguments)
        if done.returncode != 0:
            raise NodeError(f"rabbitmqctl {' '.join(arguments)} failed: {done.stderr}{done.stdout}")
        return done.stdout

    def _run(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        configuration = self.directory / "rabbitmq.conf"
        configuration.write_text(_CONFIGURATION)
        configuration.chmod(0o644)  # the user inside the container must be able to read it
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
        return self.management_get("overview") is not None and self.speaks_amqp()


def _remove_orphans() -> None:
    """Remove containers that outlived their starter because it was killed."""
    line = f'{{{{.ID}}}} {{{{.Label "{_STARTER_LABEL}"}}}}'
    listed = _docker("ps", "--filter", f"label={_STARTER_LABEL}", "--format", line)
    for identifier, starter in (entry.split() for entry in listed.stdout.splitlines()):
        try:
            os.kill(int(starter), 0)
        except ProcessLookupError:
            _docker("rm", "--force", "--volumes", identifier)
        except PermissionError:
            continue  # the starter runs, under another user


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
            start_new_session=True,  # Ctrl-C must reach only the sandbox, which stops the container in its turn
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, returncode=1, stdout="", stderr=str(error))
