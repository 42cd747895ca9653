"""A private RabbitMQ node: its own data, its own ports, and nothing left behind."""

import contextlib
import hashlib
import os
import re
import secrets
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from typing_extensions import override

from sandbox.broker.erlang import Epmd, Host, find_program
from sandbox.broker.rabbitmq import RabbitMQ
from sandbox.directory_lock import DirectoryLock
from sandbox.ports import free_port
from sandbox.processes import ChildProcess, wait_until


class NodeError(Exception):
    """A node could not start or a command on it failed; the text gives the reason."""


class NodeInUseError(NodeError):
    """Another running command owns the node in this directory."""


class PrivateNode(RabbitMQ):
    """RabbitMQ node in a directory that holds its data, logs, cookie and configuration.

    It listens on loopback only (unless `host` differs), runs as the current user, root included, and ends with the
    process that started it. Its data stay: the next start in the same directory finds them.

    Args:
        directory: Created if missing.
        amqp_port: Port for AMQP clients; by default a free one, as for the other ports.
        management_port: Port of the management UI and API.
        metrics_port: Port for Prometheus; by default the node has no such port.
        dist_port: Port for other Erlang nodes and `rabbitmqctl`.
        nodename: Erlang name, `name@localhost`. The data belong to it. By default derived from the directory's path.
        epmd: Port mapper shared with other nodes; by default the node has its own, which stops with it.
        cookie: Secret that all members of a cluster share; by default created once for the directory.
        settings: More lines of rabbitmq.conf, by key.
        host: Host of the node; by default loopback.
        erl_args: More arguments of the Erlang VM.

    Raises:
        NodeError: RabbitMQ is not installed.
    """

    def __init__(
        self,
        directory: Path,
        *,
        amqp_port: int | None = None,
        management_port: int | None = None,
        metrics_port: int | None = None,
        dist_port: int | None = None,
        nodename: str | None = None,
        epmd: Epmd | None = None,
        cookie: str | None = None,
        settings: Mapping[str, str] | None = None,
        host: Host | None = None,
        erl_args: str = "",
    ) -> None:
        server, ctl = find_program("rabbitmq-server"), find_program("rabbitmqctl")
        if server is None or ctl is None:
            raise NodeError("rabbitmq-server is not installed")
        self._host = host or Host()
        super().__init__(address=self._host.address, amqp_port=amqp_port, management_port=management_port)
        self.directory = directory.resolve()
        self.metrics_port = metrics_port
        self.dist_port = dist_port or free_port()
        self._erl_args = erl_args
        self.nodename = nodename or f"eventflow-{_short_hash(self.directory)}@{self._host.name}"
        self._epmd = epmd or Epmd(host=self._host)
        self._owns_epmd = epmd is None
        self._cookie = cookie
        self._settings = dict(settings or {})
        self._ctl = ctl
        self._mark = secrets.token_hex(8)  # identifies this node's process by its command line
        command: list[str | Path] = [*self._host.enter, server]
        self._server = ChildProcess(self.nodename, command, env=self._environment(), cwd=Path("/"))
        self._lock = DirectoryLock(self.directory)

    @property
    @override
    def alive(self) -> bool:
        return self._server.alive

    @property
    def pid(self) -> int:
        """The process id of the Erlang VM, which leads its own process group."""
        return self._server.pid

    @override
    def start(self, timeout_s: float = 60.0) -> None:
        """Start it and wait until it serves AMQP and the management API.

        Raises:
            NodeInUseError: Another running command owns the node in this directory.
            NodeError: It did not become ready; the text ends with its last output.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        if not self._lock.take():
            raise NodeInUseError(f"another running command owns the node in {self.directory}")
        try:
            self._end_stale_process()
            self._write_configuration()
            if self._owns_epmd:
                self._epmd.start()
            self._server.start()
            self._pid_file.write_text(f"{self._server.pid} {self._mark}")
            wait_until(
                lambda: self._ready() or not self.alive,
                timeout_s=timeout_s,
                what=f"{self.nodename} to start",
            )
        except TimeoutError as error:
            self.kill()
            raise NodeError(self._with_output(str(error))) from error
        except BaseException:
            self.kill()
            raise
        if not self.alive:
            self.kill()
            raise NodeError(self._with_output(f"{self.nodename} ended while it started"))

    @override
    def stop(self, timeout_s: float = 20.0) -> None:
        """Stop it with SIGTERM; after `timeout_s` with SIGKILL."""
        try:
            self._server.stop(timeout_s)
        finally:
            self._clean_up()

    @override
    def kill(self) -> None:
        self._server.kill()
        self._clean_up()

    def restart(self) -> None:
        """Stop it cleanly and start it again."""
        self.stop()
        self.start()

    @override
    def pause(self) -> None:
        self._server.pause()

    @override
    def resume(self) -> None:
        self._server.resume()

    @override
    def ctl(self, *arguments: str, timeout_s: float = 60.0) -> str:
        """Run `rabbitmqctl` against this node and return its output.

        Raises:
            NodeError: It failed, or took longer than `timeout_s`.
        """
        return self._run([self._ctl, "--node", self.nodename, *arguments], timeout_s=timeout_s)

    def evaluate(self, expression: str, timeout_s: float = 60.0) -> str:
        """Evaluate an Erlang expression on this node and return its value as text.

        `rabbitmqctl eval` does the same, but its start takes a hundred times the processor time of `erl_call`.

        Raises:
            NodeError: It failed, or took longer than `timeout_s`.
        """
        erl_call = find_program("erl_call")
        if erl_call is None:
            return self.ctl("eval", f"{expression}.", timeout_s=timeout_s)
        address = f"{self._host.peers_address}:{self.dist_port}"
        answer = self._run([erl_call, "-address", address, "-e"], given=f"{expression}.\n", timeout_s=timeout_s)
        value = re.fullmatch(r"\{ok, (.*)\}", answer, re.DOTALL)
        if value is None:
            raise NodeError(f"{expression} failed: {answer}")
        return value[1]

    def _run(self, command: Sequence[str | Path], *, timeout_s: float, given: str = "") -> str:
        """Run a command of Erlang against this node, with `given` as its standard input; return its output."""
        words = " ".join([Path(command[0]).name, *map(str, command[1:])])
        try:
            done = subprocess.run(
                [*self._host.enter, *command],
                env=self._environment(),
                input=given,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=True,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired as error:
            raise NodeError(f"{words} took longer than {timeout_s:g} s") from error
        except subprocess.CalledProcessError as error:
            raise NodeError(f"{words} failed: {error.stderr}{error.stdout}") from error
        return done.stdout

    @property
    def _pid_file(self) -> Path:
        return self.directory / "node.pid"

    @property
    def _log_file(self) -> Path:
        return self.directory / "log" / "rabbitmq.log"

    def _environment(self) -> dict[str, str]:
        """Keep every file and port of the node apart from those of a RabbitMQ that the system runs."""
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_", "ELIXIR_"))
        }
        home = self.directory
        return inherited | {
            "HOME": str(home),  # Erlang reads its cookie there
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
            "ERL_EPMD_ADDRESS": self._host.peers_address,
            "ERL_EPMD_PORT": str(self._epmd.port),
            "RUNNING_UNDER_SYSTEMD": "true",  # the start script is replaced by the VM instead of supervising it
            "RABBITMQ_NODENAME": self.nodename,
            "RABBITMQ_USE_LONGNAME": str(self._host.has_long_name).lower(),
            "RABBITMQ_DIST_PORT": str(self.dist_port),
            "RABBITMQ_CONF_ENV_FILE": str(home / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_CONFIG_FILES": str(home / "conf.d"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(home / "data"),
            "RABBITMQ_MNESIA_DIR": str(home / "data" / self.nodename),
            "RABBITMQ_FEATURE_FLAGS_FILE": str(home / "data" / f"{self.nodename}-feature_flags"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(home / "data" / "config"),
            "RABBITMQ_SCHEMA_DIR": str(home / "data" / "schema"),
            "RABBITMQ_LOG_BASE": str(self._log_file.parent),
            "RABBITMQ_LOGS": str(self._log_file),
            "RABBITMQ_PID_FILE": str(home / "data" / "vm.pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{self._host.erl_args} {self._erl_args} -eventflow {self._mark}",
            "RABBITMQ_CTL_ERL_ARGS": self._host.erl_args,
        }

    def _plugins(self) -> list[str]:
        return ["rabbitmq_management"] + (["rabbitmq_prometheus"] if self.metrics_port else [])

    def _metrics_settings(self) -> dict[str, str]:
        if self.metrics_port is None:
            return {}
        return {"prometheus.tcp.ip": self._host.address, "prometheus.tcp.port": str(self.metrics_port)}

    def _write_configuration(self) -> None:
        lines = (
            {
                "listeners.tcp.1": f"{self._host.address}:{self.amqp_port}",
                "management.tcp.ip": self._host.address,
                "management.tcp.port": str(self.management_port),
                "disk_free_limit.absolute": "50MB",
                "log.file.level": "info",
            }
            | self._metrics_settings()
            | self._settings
        )
        self._log_file.parent.mkdir(exist_ok=True)
        (self.directory / "rabbitmq.conf").write_text("".join(f"{key} = {value}\n" for key, value in lines.items()))
        (self.directory / "enabled_plugins").write_text(f"[{','.join(self._plugins())}].\n")
        cookie = self.directory / ".erlang.cookie"
        if self._cookie is not None or not cookie.exists():
            cookie.unlink(missing_ok=True)
            cookie.touch(mode=0o600)
            cookie.write_text(self._cookie or secrets.token_hex(20))
            cookie.chmod(0o400)

    def _ready(self) -> bool:
        # The name is compared because another broker may have taken the port in the meantime.
        overview = self.management_get("overview")
        return isinstance(overview, dict) and overview.get("node") == self.nodename and self.speaks_amqp()

    def _end_stale_process(self) -> None:
        """End the node of an earlier command that was killed. The lock is ours, so no running command owns it."""
        with contextlib.suppress(OSError, ValueError):
            pid, mark = self._pid_file.read_text().split()
            listed = subprocess.run(
                ["ps", "-ww", "-o", "command=", "-p", pid], capture_output=True, text=True, check=False
            )
            if mark in listed.stdout:
                os.killpg(int(pid), signal.SIGKILL)

    def _clean_up(self) -> None:
        if self._owns_epmd:
            self._epmd.stop()
        self._pid_file.unlink(missing_ok=True)
        self._lock.release()

    def _with_output(self, problem: str) -> str:
        return f"{self._server.explain(problem)}\nIts log: {self._log_file}"


@contextlib.contextmanager
def temporary_node() -> Iterator[PrivateNode]:
    """Yield a running node in a temporary directory."""
    with tempfile.TemporaryDirectory(prefix="eventflow-node-", ignore_cleanup_errors=True) as directory:
        node = PrivateNode(Path(directory))
        node.start()
        try:
            yield node
        finally:
            node.kill()  # its data are deleted in any case, and a clean stop takes 6 s


def _short_hash(directory: Path) -> str:
    return hashlib.sha256(os.fsencode(directory)).hexdigest()[:8]
