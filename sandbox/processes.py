"""Child processes: detached from the terminal, read line by line, and never left behind."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol

from typing_extensions import override

from sandbox.startable import Startable

_TAIL_LINES = 200
_POLL_S = 0.05
_OUTPUT_WITHIN_S = 20.0
"""For the last lines of an ended program, which a busy machine reads late; another process can hold the pipe open."""

# Shell script that waits for the end of its standard input, which is the end of its starter, and then kills a process
# group. The kernel closes the pipe however the starter ends.
_LEASH = 'read -r _; kill -s KILL -- "-$1"'


class Launched(Protocol):
    """A process that leads its own session, as `subprocess.Popen` shows one."""

    @property
    def pid(self) -> int:
        """Process id."""

    @property
    def stdout(self) -> IO[str] | None:
        """Standard output and error."""

    @property
    def returncode(self) -> int | None:
        """Exit status that was seen last."""

    def poll(self) -> int | None:
        """Look for its end; return its exit status."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return its exit status.

        Raises:
            subprocess.TimeoutExpired: It still runs.
        """


class ChildProcess(Startable):
    """A program in its own session, so that Ctrl-C in a terminal reaches its starter only.

    It does not outlive its starter: a small shell kills the program's process group when its pipe to the starter
    closes, which also happens when the starter is killed.

    Args:
        name: Name for people.
        command: Program and arguments.
        env: Whole environment; None inherits the starter's.
        on_line: Called from a thread with each line of output, without the line end.
        cwd: Working directory.
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
        self._process: Launched | None = None
        self._leash: subprocess.Popen[bytes] | None = None
        self._pump: threading.Thread | None = None
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)

    @property
    def pid(self) -> int:
        """Process id; also the id of its process group and session."""
        return self._started().pid

    @property
    def alive(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def returncode(self) -> int | None:
        """Exit status, negative for a signal; None while it runs and before its first start."""
        return None if self._process is None else self._process.poll()

    @property
    def resident_bytes(self) -> int:
        """Resident memory of the program, from /proc."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:"))

    def tail(self, lines: int = 20) -> list[str]:
        """Return the last lines of its standard output and error."""
        return list(self._tail)[-lines:]

    def explain(self, problem: str) -> str:
        """Return an error message: the problem and the last lines of output."""
        return "\n".join([f"{problem}. Its last output:", *self.tail(15)])

    @override
    def start(self) -> None:
        """Start it. It can be started again after its end."""
        if self.alive:
            raise RuntimeError(f"{self.name} already runs")
        self._tail.clear()
        self._process = self._launch()
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

    def _launch(self) -> Launched:
        return subprocess.Popen(
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

    def wait(self, timeout_s: float) -> int | None:
        """Wait for its end and return its exit status; None if it still runs after `timeout_s`."""
        try:
            returncode = self._started().wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        self._release()
        return returncode

    @override
    def stop(self, timeout_s: float = 30.0) -> int | None:
        """End it with SIGTERM, or with SIGKILL after `timeout_s`; return its exit status."""
        if self._process is None:
            return None
        self.signal(signal.SIGTERM)
        return self.end(timeout_s)

    def end(self, timeout_s: float) -> int | None:
        """Wait for its end, or end it with SIGKILL after `timeout_s`; return its exit status."""
        if self._process is None:
            return None
        try:
            returncode = self.wait(timeout_s)
        except BaseException:  # a second Ctrl-C must not leave it running
            self.kill()
            raise
        return self.kill() if returncode is None else returncode

    def kill(self) -> int | None:
        """End it and its process group with SIGKILL; return its exit status."""
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
        """Send a signal to it or to its whole process group; do nothing if it has ended."""
        process = self._started()
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            if group:
                os.killpg(process.pid, number)
            else:
                os.kill(process.pid, number)

    def _started(self) -> Launched:
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
        """Release the resources of the ended process, and kill the rest of its process group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._started().pid, signal.SIGKILL)
        if self._leash is not None:
            self._leash.kill()
            self._leash.communicate()
            self._leash = None
        if self._pump is not None:
            self._pump.join(_OUTPUT_WITHIN_S)
            self._pump = None


def scrubbed_environment() -> dict[str, str]:
    """Return the environment without the variables that configure a service or its telemetry."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("EVENTFLOW_", "OTEL_"))}


def wait_until(condition: Callable[[], bool], *, timeout_s: float, what: str) -> None:
    """Wait until `condition` holds.

    Raises:
        TimeoutError: The condition did not hold within `timeout_s`; the text contains `what`.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"timeout after {timeout_s:g} s while waiting for {what}")
        time.sleep(_POLL_S)
