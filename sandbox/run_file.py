"""Where a running sandbox is, for the commands that use it."""

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
    """What `make run-local` started.

    Attributes:
        pid: Of the command that runs it all.
    """

    pid: int
    events_url: str
    audit_url: str
    api_key: str
    management_url: str | None
    collector_metrics_url: str
    processor_metrics_urls: list[str]

    def write(self, path: Path = DEFAULT_PATH) -> None:
        """Write it, for its owner's eyes: it holds a key, though a local one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n")

    def remove(self, path: Path = DEFAULT_PATH) -> None:
        """Remove it, unless another command has put its own there."""
        if self.read(path) in (self, None):
            path.unlink(missing_ok=True)

    @classmethod
    def read(cls, path: Path = DEFAULT_PATH) -> "RunFile | None":
        """Read it; None where nothing runs."""
        try:
            found = cls(**json.loads(path.read_text()))
            os.kill(found.pid, 0)  # asks only whether it is there
            port = urlsplit(found.events_url).port
        except (OSError, ValueError, TypeError):  # no file, an older form of it, or its command was killed
            return None
        return found if port and accepts(LOOPBACK, port) else None  # process ids come round again
