"""The lock by which one command owns a directory."""

import fcntl
from pathlib import Path
from typing import IO


class DirectoryLock:
    """Lock of a directory. If its process dies, the kernel releases it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file: IO[str] | None = None

    def take(self) -> bool:
        """Take the lock; return False if a running command has it."""
        file = (self._directory / "lock").open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self._file = file
        return True

    def release(self) -> None:
        """Release the lock; do nothing if it was not taken."""
        if self._file is not None:
            self._file.close()
            self._file = None
