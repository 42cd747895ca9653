"""A private PostgreSQL: its own data, its own port, and nothing left behind."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from typing_extensions import override

from sandbox.database.postgres import Postgres, ServerError, ServerInUseError
from sandbox.directory_lock import DirectoryLock
from sandbox.ports import LOOPBACK
from sandbox.processes import ChildProcess, wait_until

# Debian keeps the programs of each version apart from PATH.
_VERSIONS_DIRECTORY = Path("/usr/lib/postgresql")
_OTHER_DIRECTORIES = ("/usr/pgsql-17/bin", "/opt/homebrew/opt/postgresql@17/bin", "/usr/local/opt/postgresql@17/bin")
_USERS = ("postgres", "nobody")
_INITDB_S = 60.0


def find_programs() -> Path | None:
    """Return the directory of `initdb` and `postgres`, those of the latest version; None if there is none."""
    versions = sorted(_VERSIONS_DIRECTORY.glob("*/bin"), key=_version, reverse=True)
    path = os.pathsep.join([*map(str, versions), os.environ.get("PATH", os.defpath), *_OTHER_DIRECTORIES])
    found = shutil.which("initdb", path=path)
    # A link on PATH may stand apart from the programs that `initdb` starts.
    return Path(found).resolve().parent if found else None


class PrivateServer(Postgres):
    """PostgreSQL in a directory that holds its data and its password.

    It listens on loopback only and ends with the process that started it. Its data stay: the next start in the same
    directory finds them. PostgreSQL refuses to run as root, so root starts it as another user, who then owns the data.

    Args:
        directory: Created if missing.
        port: By default a free one.
        is_durable: Whether committed data survive a crash of the machine too, and not only one of the server. Then
            writes are slower.
        settings: More settings of the server, by name.

    Raises:
        ServerError: PostgreSQL is not installed.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = None,
        is_durable: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        programs = find_programs()
        if programs is None:
            raise ServerError("PostgreSQL is not installed")
        self.directory = directory.resolve()
        super().__init__(port=port, password=_read(self._password_file))
        self._programs = programs
        self._user = _unprivileged_user()
        self._lock = DirectoryLock(self.directory)
        options = {
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "on" if is_durable else "off",
            "max_connections": "200",  # of all the processes that run tests side by side
            "shared_buffers": "32MB",
            "logging_collector": "off",
            "dynamic_shared_memory_type": "mmap",  # in the directory: a killed server leaves nothing elsewhere
        } | dict(settings or {})
        command: list[str | Path] = [*self._as_user, programs / "postgres", "-D", self._data]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        self._server = ChildProcess("postgres", command, env=_environment(), cwd=Path("/"))

    @property
    @override
    def alive(self) -> bool:
        return self._server.alive

    @override
    def start(self, timeout_s: float = 30.0) -> None:
        """Start it and wait until it takes connections, after a crash also until its recovery is over.

        Raises:
            ServerInUseError: Another running command owns the server in this directory.
            ServerError: It did not become ready; the text ends with its last output.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        if not self._lock.take():
            raise ServerInUseError(f"another running command owns the server in {self.directory}")
        try:
            self._make_data()
            self._await_predecessor()
            self._server.start()
            wait_until(lambda: self.answers() or not self.alive, timeout_s=timeout_s, what="PostgreSQL to start")
        except TimeoutError as error:
            self.kill()
            raise ServerError(self._server.explain(str(error))) from error
        except BaseException:
            self.kill()
            raise
        if not self.alive:
            self._lock.release()
            raise ServerError(self._server.explain("PostgreSQL ended while it started"))

    @override
    def stop(self, timeout_s: float = 10.0) -> None:
        """Stop it, and end the connections of its clients; after `timeout_s` kill it."""
        if self.alive:
            self._server.signal(signal.SIGINT)  # "fast shutdown"; on SIGTERM it would wait for its clients
            self._server.end(timeout_s)
        self._lock.release()

    @override
    def kill(self) -> None:
        # Each connection has a process in a group of its own. They are listed before the first of them ends, because
        # after its end PostgreSQL would begin to restart the others.
        for pid in self._pids():
            _signal(pid, signal.SIGKILL)
        self._server.kill()
        self._lock.release()

    @override
    def pause(self) -> None:
        for pid in self._pids():
            _signal(pid, signal.SIGSTOP)

    @override
    def resume(self) -> None:
        for pid in self._pids():
            _signal(pid, signal.SIGCONT)

    def restart(self) -> None:
        """Stop it cleanly and start it again."""
        self.stop()
        self.start()

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    @property
    def _completion_file(self) -> Path:
        """File that exists after `initdb` has ended."""
        return self.directory / "complete"

    @property
    def _password_file(self) -> Path:
        return self.directory / "password"

    @property
    def _as_user(self) -> list[str]:
        """Words before a command that run it as the unprivileged user; none for a user other than root."""
        if self._user is None:
            return []
        ids = [f"--reuid={self._user.pw_uid}", f"--regid={self._user.pw_gid}", "--clear-groups"]
        return ["setpriv", *ids, "--no-new-privs"]

    def _pids(self) -> list[int]:
        """Return the ids of its processes, the first one first; none if it does not run."""
        if not self.alive:
            return []
        first = self._server.pid
        listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
        pairs = [tuple(map(int, line.split())) for line in listed.stdout.splitlines()]
        return [first, *(pid for pid, parent in pairs if parent == first)]

    def _await_predecessor(self) -> None:
        """Wait for the end of a server that outlives its starter. We have the lock, so its starter is gone."""

        def is_gone() -> bool:
            with contextlib.suppress(OSError, ValueError):
                pid = int((self._data / "postmaster.pid").read_text().split()[0])
                command = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
                listed = subprocess.run(command, capture_output=True, text=True, check=False)
                # For PostgreSQL a process that ended lives until the system has reaped it.
                return not any(text in listed.stdout for text in (str(self._data), "<defunct>"))
            return True

        wait_until(is_gone, timeout_s=5.0, what="an earlier server in this directory to end")

    def _make_data(self) -> None:
        """Make the files of a new server, unless the directory has them."""
        if self._completion_file.exists():
            return
        shutil.rmtree(self._data, ignore_errors=True)  # the rest of a start that was interrupted
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(self.password)
        self._data.mkdir(mode=0o700)
        if self._user is not None:
            for path in (self.directory, self._password_file, self._data):
                os.chown(path, self._user.pw_uid, self._user.pw_gid)
            self._check_reach(self._user.pw_name)
        command: list[str | Path] = [*self._as_user, self._programs / "initdb", "--pgdata", self._data]
        command += ["--username", self.login, "--pwfile", self._password_file, "--auth", "scram-sha-256"]
        command += ["--encoding", "UTF8", "--locale", "C", "--no-sync"]
        done = subprocess.run(
            command, env=_environment(), cwd="/", capture_output=True, text=True, check=False, timeout=_INITDB_S
        )
        if done.returncode != 0:
            raise ServerError(f"initdb in {self._data} failed: {done.stderr.strip()}")
        self._completion_file.touch()

    def _check_reach(self, user: str) -> None:
        """Check that the user can enter the directory. For example, others cannot enter the home directory of root."""
        tested = subprocess.run([*self._as_user, "test", "-x", self._data], check=False)
        if tested.returncode != 0:
            raise ServerError(
                f"the user {user}, who runs PostgreSQL, may not enter {self.directory}: choose another directory"
            )


def _version(directory: Path) -> int:
    name = directory.parent.name
    return int(name) if name.isdigit() else 0


def _unprivileged_user() -> pwd.struct_passwd | None:
    """Return the user for the server if this process is root's; None for others, who run it themselves."""
    if os.geteuid() != 0:
        return None
    for name in _USERS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise ServerError(f"PostgreSQL does not run as root, and there is no user {' or '.join(_USERS)}")


def _environment() -> dict[str, str]:
    """Return the environment without the variables that configure PostgreSQL, with messages in English."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return inherited | {"LC_ALL": "C.UTF-8", "TZ": "UTC"}


def _read(file: Path) -> str | None:
    try:
        return file.read_text() or None
    except OSError:
        return None


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
