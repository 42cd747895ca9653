"""Our programs, started in milliseconds: forked from a process that has already imported their modules.

The imports take 0.6 s of processor time, and the tests start hundreds of programs. A forked program is still a process
and a session of its own with its own environment, and runs its `__main__` from the first line. What a fork cannot
show is tested with started interpreters: the first moments of a program, the workers of a collector, the whole way,
and the chaos suite.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import IO

from typing_extensions import override

from sandbox.processes import ChildProcess, Launched

_STANDARD_OUTPUT, _STANDARD_ERROR = 1, 2

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(
    [
        f"{module}.__main__"
        for module in (
            "eventflow_collector",
            "eventflow_processor",
            "eventflow_console",
            "eventflow_relay",
            "eventflow.cli",
        )
    ]
)

_looking = threading.Lock()
"""Held to ask how a process ended, which start does for every process: of two threads that ask about one process, one
reads its status, and the other, that the pipe is at its end, for which multiprocessing writes 255."""


class PreloadedProcess(ChildProcess):
    """A child process whose command is `python -m MODULE ARGUMENTS`, with a whole environment."""

    @override
    def _launch(self) -> Launched:
        assert self._env is not None
        return Forked(self._command[2:], env=self._env, cwd=self._cwd)


def run(command: Sequence[str], *, env: Mapping[str, str]) -> tuple[int, str, str]:
    """Run a command to its end; return its exit status, standard output and standard error."""
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as stderr:
        program = Forked(command, env=env, stderr=Path(stderr.name))
        with program.stdout as stdout:
            written = stdout.read()
        return program.wait(), written, stderr.read()


class Forked:
    """A program that was forked, seen as a `subprocess.Popen`.

    Args:
        command: Module and arguments.
        env: Whole environment. Variables that the interpreter, the dynamic linker or a library reads at its start have
            no effect, such as SSL_CERT_FILE.
        cwd: Working directory.
        stderr: File that takes standard error; None to put it into `stdout`.
    """

    def __init__(
        self, command: Sequence[str], *, env: Mapping[str, str], cwd: Path | None = None, stderr: Path | None = None
    ) -> None:
        reader, writer = _server.Pipe(duplex=False)
        begun, begins = _server.Pipe(duplex=False)
        self._process = _server.Process(
            target=_run, args=[command, dict(env), cwd, writer, stderr, begins], name=command[0], daemon=True
        )
        with writer, begins, _looking:
            self._process.start()
        with begun:
            begun.recv()  # only now is it the leader of its process group, which a signal may be for
        with reader:
            self.stdout: IO[str] = os.fdopen(os.dup(reader.fileno()), encoding="utf-8", errors="replace")

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def poll(self) -> int | None:
        with _looking:
            return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        wait([self._process.sentinel], timeout)
        status = self.poll()
        if status is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0)
        return status


def _run(
    command: Sequence[str],
    env: Mapping[str, str],
    cwd: Path | None,
    output: Connection,
    stderr: Path | None,
    begins: Connection,
) -> None:
    """Become the program, in the forked process."""
    os.setsid()
    os.environ.clear()
    os.environ.update(env)
    if cwd is not None:
        os.chdir(cwd)
    os.dup2(output.fileno(), _STANDARD_OUTPUT)
    errors = output.fileno() if stderr is None else os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(errors, _STANDARD_ERROR)
    begins.send(None)
    os.closerange(_STANDARD_ERROR + 1, os.sysconf("SC_OPEN_MAX"))  # a program has no descriptors of its starter
    module, *arguments = command
    sys.argv[:] = [module, *arguments]
    sys.modules.pop(f"{module}.__main__", None)  # it runs from its first line, and runpy warns about one that has run
    runpy.run_module(module, run_name="__main__", alter_sys=True)
