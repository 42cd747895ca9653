"""Child processes: started apart from the terminal, read line by line, stopped for certain."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

_TAIL_LINES = 200
_POLL_S = 0.05

# Reads until its starter is gone, however that died, then kills the process group that it was told of.
_LEASH = 'read -r _; kill -s KILL -- "-$1"'


class ChildProcess:
    """One program in a session of its own, so that a terminal's Ctrl-C reaches only whoever started it.

    It does not outlive its starter: a tiny shell reads from a pipe and kills the program's process group once the
    pipe closes, as it does when the starter ends, by SIGKILL too.

    Args:
        name: What people call it.
        command: Program and arguments.
        env: The whole environment; None inherits the starter's.
        on_line: Called from a thread with each line of output, without its line end.
        cwd: Where it runs.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self._command = [str(part) for part in command]
        self._env = env
        self._on_line = on_line
        self._cwd = cwd
        self._process: subprocess.Popen[str] | None = None
        self._leash: subprocess.Popen[bytes] | None = None
        self._pump: threading.Thread | None = None
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id, which is its process group's and session's too."""
        return self._started().pid

    @property
    def alive(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal; None while it runs or before it was started."""
        return None if self._process is None else self._process.poll()

    def tail(self, lines: int = 20) -> list[str]:
        """Return its last lines of output (standard output and error)."""
        return list(self._tail)[-lines:]

    def start(self) -> None:
        """Start it; after an end it can be started again."""
        if self.alive:
            raise RuntimeError(f"{self.name} is running already")
        self._tail.clear()
        self._process = subprocess.Popen(
            self._command,
            env=self._env,
            cwd=self._cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._leash = subprocess.Popen(
            ["/bin/sh", "-c", _LEASH, "leash", str(self._process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._pump = threading.Thread(
            target=self._read_output, args=[self._process.stdout], name=f"{self.name}-output", daemon=True
        )
        self._pump.start()

    def wait(self, timeout_s: float) -> int | None:
        """Wait for its end and return its exit status; None when it still runs after `timeout_s`."""
        try:
            returncode = self._started().wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        self._release()
        return returncode

    def stop(self, timeout_s: float = 10.0) -> int | None:
        """Ask it to end with SIGTERM and see to it with SIGKILL after `timeout_s`; return its exit status."""
        if self._process is None:
            return None
        self.signal(signal.SIGTERM)
        try:
            returncode = self.wait(timeout_s)
        except BaseException:  # an impatient second Ctrl-C
            self.kill()
            raise
        return self.kill() if returncode is None else returncode

    def kill(self) -> int | None:
        """End it and its process group at once with SIGKILL; return its exit status."""
        if self._process is None:
            return None
        self.signal(signal.SIGKILL, group=True)
        self._process.wait()
        self._release()
        return self._process.returncode

    def pause(self) -> None:
        """Freeze it and its process group (SIGSTOP)."""
        self.signal(signal.SIGSTOP, group=True)

    def resume(self) -> None:
        """Undo `pause` (SIGCONT)."""
        self.signal(signal.SIGCONT, group=True)

    def signal(self, number: signal.Signals, *, group: bool = False) -> None:
        """Send a signal to it, or to its whole process group; nothing happens when it has ended."""
        process = self._started()
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            if group:
                os.killpg(process.pid, number)
            else:
                os.kill(process.pid, number)

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process

    def _read_output(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self._tail.append(line.rstrip("\r\n"))
                if self._on_line is not None:
                    self._on_line(line.rstrip("\r\n"))

    def _release(self) -> None:
        """Let go of what was held for the ended process, and end what it left running in its group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._started().pid, signal.SIGKILL)
        if self._leash is not None:
            self._leash.kill()
            self._leash.communicate()
            self._leash = None
        if self._pump is not None:
            self._pump.join(timeout=1.0)
            self._pump = None


def wait_until(condition: Callable[[], bool], *, timeout_s: float, what: str) -> None:
    """Wait until `condition` holds.

    Raises:
        TimeoutError: It did not hold within `timeout_s`; the text names `what` was waited for.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s:g} s in vain for {what}")
        time.sleep(_POLL_S)
