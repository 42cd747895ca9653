"""A run of `make run-local`: its addresses and settings, in a file for the commands that use it.

A run writes `.local/run.json` in its directory. A link in a directory of the user leads to this file, so that
`eventflow` finds the run from any other directory too.
"""

import dataclasses
import errno
import json
import os
import socket
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

RUN_FILE_NAME = "run.json"
DEFAULT_PATH = Path(".local") / RUN_FILE_NAME
CONNECT_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFile:
    """Addresses and settings of everything that `make run-local` started.

    Attributes:
        pid: Process id of that command.
        directory: Its working directory.
        config: The TOML file of the services; None if there is none.
        settings: The variables of the services, without secrets that the user has set.
    """

    pid: int
    directory: str
    console_url: str
    events_url: str
    audit_url: str
    api_key: str
    management_url: str | None
    collector_metrics_url: str
    processor_metrics_urls: list[str]
    config: str | None
    settings: dict[str, str]

    def write(self, path: Path = DEFAULT_PATH) -> None:
        """Write it, readable by its owner only, because it has an API key and the password of the broker."""
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, json.dumps(dataclasses.asdict(self), indent=2) + "\n")
        with suppress(OSError, RuntimeError):  # no home directory: found from its own directory only
            links = links_directory()
            links.mkdir(mode=0o700, parents=True, exist_ok=True)
            for link in links.iterdir():
                if self.read(link) is None:  # of a run that was killed
                    link.unlink(missing_ok=True)
            (links / str(self.pid)).unlink(missing_ok=True)
            (links / str(self.pid)).symlink_to(path.absolute())

    def remove(self, path: Path = DEFAULT_PATH) -> None:
        """Remove it, unless another command has replaced it."""
        with suppress(OSError, RuntimeError):
            (links_directory() / str(self.pid)).unlink()
        if self.read(path) in (self, None):
            path.unlink(missing_ok=True)

    @classmethod
    def read(cls, path: Path = DEFAULT_PATH) -> "RunFile | None":
        """Read it; None if nothing runs."""
        try:
            found = cls(**json.loads(_own_text(path)))
            os.kill(found.pid, 0)  # signal 0 only checks that the process exists
            port = urlsplit(found.events_url).port
        except (OSError, ValueError, TypeError):  # no such file, an older format, or the command was killed
            return None
        return found if port and _accepts(port) else None  # the id may belong to another process by now

    def agrees_with(self, named: Mapping[str, str], config: Path | None) -> bool:
        """Return whether its services have these values of variables, and this TOML file if there is one."""
        is_same_file = config is None or (self.config is not None and config.resolve() == Path(self.config))
        return is_same_file and all(self.settings.get(name) == value for name, value in named.items())

    def below(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a command: its own variables, and the settings of the run for all others."""
        config = {} if self.config is None else {"EVENTFLOW_CONFIG": self.config}
        own = {name: value for name, value in environ.items() if value or name not in self.settings}
        return {**config, **self.settings, **own}


def _own_text(path: Path) -> str:
    """Return the text of a file of this user.

    Directories above this one are searched too, and other users may write in some of them, such as /tmp: a file of
    theirs would lead a command to their broker.

    Raises:
        OSError: There is no such file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a FIFO does not block
    with os.fdopen(descriptor, encoding="utf-8") as file:
        found = os.fstat(descriptor)
        if found.st_uid != os.getuid() or not stat.S_ISREG(found.st_mode):
            raise PermissionError(errno.EPERM, "not a file of this user", str(path))
        return file.read()


def _replace(path: Path, text: str) -> None:
    """Write a file that only its owner can read, in place of any other file or link, and never half of it."""
    descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    Path(part).replace(path)


def links_directory() -> Path:
    """Return the directory of the links to all runs of this user."""
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "eventflow" / "runs"


def all_runs() -> list[RunFile]:
    """Return the runs of this user, those of the directories nearest to this one first."""
    runs = {run.pid: run for path in _paths() if (run := RunFile.read(path)) is not None}
    return sorted(runs.values(), key=lambda run: (_distance(run), run.directory))


def is_here(run: RunFile) -> bool:
    """Return whether a run was started in the working directory, or in a directory above it."""
    return Path.cwd().is_relative_to(run.directory)


def _paths() -> Iterator[Path]:
    with suppress(OSError, RuntimeError):
        yield from links_directory().iterdir()
    for directory in (Path.cwd(), *Path.cwd().parents):
        yield directory / DEFAULT_PATH


def _distance(run: RunFile) -> int:
    """Return the number of directories from a run down to this one; a large one if it was started elsewhere."""
    return len(Path.cwd().relative_to(run.directory).parts) if is_here(run) else len(Path.cwd().parts)


def _accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=CONNECT_TIMEOUT_S):
        return True
    return False
