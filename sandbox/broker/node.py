"""A private RabbitMQ node: own data, own ports on loopback, nothing left behind."""

import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from sandbox.broker import probes
from sandbox.ports import LOOPBACK, accepts, free_port
from sandbox.processes import ChildProcess, wait_until

# Debian's own directory comes before PATH: the commands that it puts there change the user to `rabbitmq`.
_PROGRAM_DIRECTORIES = ("/usr/lib/rabbitmq/bin", "/opt/homebrew/sbin", "/usr/local/sbin", "/usr/sbin")
_LOGIN = "guest"  # RabbitMQ's own, which it lets in from loopback only


class NodeError(Exception):
    """The node cannot do what was asked of it; the text says why."""


class NodeInUseError(NodeError):
    """Another running command owns the node of this directory."""


def find_program(name: str) -> Path | None:
    """Find one of RabbitMQ's or Erlang's programs."""
    path = os.pathsep.join([_PROGRAM_DIRECTORIES[0], os.environ.get("PATH", os.defpath), *_PROGRAM_DIRECTORIES[1:]])
    found = shutil.which(name, path=path)
    return Path(found) if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Where a node runs: on loopback, or in a network namespace with a link to its clients and one to its peers.

    Attributes:
        address: Where it serves clients and the management API.
        peers_address: Where other nodes reach it.
        name: The part of its Erlang name behind the `@`; an address makes it a long name.
        enter: What a command is prefixed with to run there.
    """

    address: str = LOOPBACK
    peers_address: str = LOOPBACK
    name: str = "localhost"
    enter: tuple[str, ...] = ()

    @property
    def has_long_name(self) -> bool:
        """Whether Erlang must be started with long names (`RABBITMQ_USE_LONGNAME`)."""
        return "." in self.name

    @property
    def erl_args(self) -> str:
        """What keeps Erlang's distribution off every other address."""
        return f"-kernel inet_dist_use_interface {{{self.peers_address.replace('.', ',')}}}"


class Epmd:
    """Erlang's port mapper on a port of its own: nodes that share one can form a cluster."""

    def __init__(self, *, port: int | None = None, host: Host | None = None) -> None:
        self.port = port or free_port()
        self._host = host or Host()
        program = find_program("epmd") or "epmd"
        addresses = f"{self._host.address},{self._host.peers_address}"
        command = [*self._host.enter, program, "-address", addresses, "-port", str(self.port)]
        self._process = ChildProcess("epmd", command)

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        self._process.start()
        wait_until(lambda: accepts(self._host.address, self.port), timeout_s=5.0, what="epmd to listen")

    def stop(self) -> None:
        """End it with SIGKILL: it keeps nothing, and ignores other requests while it knows nodes."""
        self._process.kill()


class PrivateNode:
    """A RabbitMQ node of one directory, which holds its data, logs, cookie and configuration.

    It listens on loopback only, runs as whoever starts it (root too), and dies with its starter. Its data outlive
    it: the next start in the same directory finds them.

    Args:
        directory: Made when it is not there.
        amqp_port: Where clients connect; a free port by default, like the other ports.
        management_port: The management UI and API.
        metrics_port: Metrics for Prometheus; by default none.
        dist_port: Between Erlang nodes and for `rabbitmqctl`.
        nodename: Erlang's name of the node, `name@localhost`, to which the data belong; by default made from the
            directory's path.
        epmd: One to share with other nodes; by default it has its own, which stops with it.
        cookie: What cluster members must have in common; by default made once for the directory.
        settings: More lines of rabbitmq.conf, by key.
        host: Where it runs; by default on loopback.
        erl_args: More arguments of the Erlang VM.

    Raises:
        NodeError: RabbitMQ is not installed.
    """

    login = _LOGIN
    password = _LOGIN

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
        self.directory = directory.resolve()
        self.amqp_port = amqp_port or free_port()
        self.management_port = management_port or free_port()
        self.metrics_port = metrics_port
        self.dist_port = dist_port or free_port()
        self._host = host or Host()
        self._erl_args = erl_args
        self.nodename = nodename or f"eventflow-{_short_hash(self.directory)}@{self._host.name}"
        self._epmd = epmd or Epmd(host=self._host)
        self._owns_epmd = epmd is None
        self._cookie = cookie
        self._settings = dict(settings or {})
        self._ctl = ctl
        self._mark = secrets.token_hex(8)  # tells this node's process from any other, on its command line
        command: list[str | Path] = [*self._host.enter, server]
        self._server = ChildProcess(self.nodename, command, env=self._environment(), cwd=Path("/"))
        self._lock: IO[str] | None = None

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
        return f"amqp://{self.login}:{self.password}@{self._host.address}:{self.amqp_port}/"

    @property
    def management_url(self) -> str:
        """Base URL of the management UI and API, with a slash at its end."""
        return f"http://{self._host.address}:{self.management_port}/"

    @property
    def alive(self) -> bool:
        """Whether the server's process runs; it may not be ready yet."""
        return self._server.alive

    @property
    def pid(self) -> int:
        """The process id of the Erlang VM, which leads its own process group."""
        return self._server.pid

    def start(self, timeout_s: float = 60.0) -> None:
        """Start it and wait until it serves AMQP and the management API.

        Raises:
            NodeInUseError: Another running command owns the node of this directory.
            NodeError: It did not come up; the text ends with what it said last.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        self._take_lock()
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
                what=f"{self.nodename} to come up",
            )
        except TimeoutError as error:
            self.kill()
            raise NodeError(self._told(str(error))) from error
        except BaseException:
            self.kill()
            raise
        if not self.alive:
            self.kill()
            raise NodeError(self._told(f"{self.nodename} ended while it came up"))

    def stop(self, timeout_s: float = 20.0) -> None:
        """Stop it cleanly, by SIGKILL after `timeout_s`."""
        try:
            self._server.stop(timeout_s)
        finally:
            self._clean_up()

    def kill(self) -> None:
        """End it at once with SIGKILL, as a crash would; `start` brings it back with its data."""
        self._server.kill()
        self._clean_up()

    def restart(self) -> None:
        """Stop it cleanly and start it again."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it (SIGSTOP): its connections stay open and say nothing."""
        self._server.pause()

    def resume(self) -> None:
        """Undo `pause`."""
        self._server.resume()

    def ctl(self, *arguments: str, timeout_s: float = 60.0) -> str:
        """Run `rabbitmqctl` against this node and return what it printed.

        Raises:
            NodeError: It failed, or took longer than `timeout_s`.
        """
        command = [*self._host.enter, str(self._ctl), "--node", self.nodename, *arguments]
        try:
            done = subprocess.run(
                command,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=True,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired as error:
            raise NodeError(f"rabbitmqctl {' '.join(arguments)} took longer than {timeout_s:g} s") from error
        except subprocess.CalledProcessError as error:
            raise NodeError(f"rabbitmqctl {' '.join(arguments)} failed: {error.stderr}{error.stdout}") from error
        return done.stdout

    @property
    def _pid_file(self) -> Path:
        return self.directory / "node.pid"

    @property
    def _log_file(self) -> Path:
        return self.directory / "log" / "rabbitmq.log"

    def _environment(self) -> dict[str, str]:
        """Point into the directory whatever a node could share with one that the system runs."""
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_", "ELIXIR_"))
        }
        home = self.directory
        return inherited | {
            "HOME": str(home),  # where Erlang looks for its cookie
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
            "ERL_EPMD_ADDRESS": self._host.peers_address,
            "ERL_EPMD_PORT": str(self._epmd.port),
            "RUNNING_UNDER_SYSTEMD": "true",  # the start script becomes the VM instead of watching over it
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
        """Ask for the node's name: another broker may have taken the port meanwhile."""
        seen = probes.management_get(self.management_url, "overview", login=self.login, password=self.password)
        return (
            isinstance(seen, dict)
            and seen.get("node") == self.nodename
            and probes.speaks_amqp(probes.BrokerAddress.of(self.url))
        )

    def _take_lock(self) -> None:
        """Own the directory until the node ends, or this process, however it dies."""
        lock = (self.directory / "lock").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise NodeInUseError(f"the node in {self.directory} belongs to another running command") from None
        self._lock = lock

    def _end_stale_process(self) -> None:
        """End what an earlier command left behind: the lock is ours, so nobody owns it any more."""
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
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _told(self, problem: str) -> str:
        last = "\n".join(self._server.tail(15))
        return f"{problem}\n{last}\nIts log: {self._log_file}"


def _short_hash(directory: Path) -> str:
    return hashlib.sha256(os.fsencode(directory)).hexdigest()[:8]
