"""Programs in a terminal, as a person uses them."""

import os
import pty
import re
import threading
import time
from contextlib import suppress
from pathlib import Path

from sandbox.processes import scrubbed_environment

CTRL_C = b"\x03"
CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


class Terminal:
    """A program in a terminal of its own."""

    def __init__(self, *command: str, cwd: Path, **variables: str) -> None:
        self._written = bytearray()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            os.execvpe(command[0], command, {**scrubbed_environment(), "TERM": "xterm", **variables})
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        """All output without the codes of the terminal."""
        return CODES.sub("", self._written.decode(errors="replace"))

    def wait_for(self, text: str, *, timeout_s: float = 60) -> None:
        deadline_s = time.monotonic() + timeout_s
        while text not in self.text:
            assert time.monotonic() < deadline_s, self.text
            time.sleep(0.02)

    def type(self, keys: bytes) -> None:
        os.write(self._fd, keys)

    def end(self) -> int:
        """Wait for the end; return the exit status."""
        _, status = os.waitpid(self.pid, 0)
        self._reader.join(30)
        os.close(self._fd)
        return os.waitstatus_to_exitcode(status)

    def _read(self) -> None:
        with suppress(OSError):  # at the end of the program
            while written := os.read(self._fd, 65536):
                self._written += written
