"""The file with the addresses of a running sandbox, for the commands that use it."""

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sandbox.ports import LOOPBACK, accepts

RUN_FILE_NAME = "run.json"
DEFAULT_PATH = Path(".local") / RUN_FILE_NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFile:
    """Addresses of everything that `make run-local` started.

    Attributes:
        pid: Process id of that command.
    """

    pid: int
    events_url: str
    audit_url: str
    api_key: str
    management_url: str | None
    collector_metrics_url: str
    processor_metrics_urls: list[str]

    def write(self, path: Path = DEFAULT_PATH) -> None:
        """Write it, readable by its owner only, because it holds an API key."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n")

    def remove(self, path: Path = DEFAULT_PATH) -> None:
        """Remove it, unless another command has replaced it."""
        if self.read(path) in (self, None):
            path.unlink(missing_ok=True)

    @classmethod
    def read(cls, path: Path = DEFAULT_PATH) -> "RunFile | None":
        """Read it; None if nothing runs."""
        try:
            found = cls(**json.loads(path.read_text()))
            os.kill(found.pid, 0)  # signal 0 only checks that the process exists
            port = urlsplit(found.events_url).port
        except (OSError, ValueError, TypeError):  # no file, an older format, or the command was killed
            return None
        return found if port and accepts(LOOPBACK, port) else None  # the id may belong to another process by now
