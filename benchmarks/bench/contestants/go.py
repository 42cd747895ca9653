"""The peer in Go: built once for its sources, and left out if this machine cannot build it."""

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.bench import stage
from benchmarks.bench.contestants.names import GO, GO_ONE_THREAD
from benchmarks.bench.stage import ROOT
from sandbox.processes import ChildProcess

THREADS: Mapping[str, Mapping[str, str]] = {GO: {}, GO_ONE_THREAD: {"GOMAXPROCS": "1"}}
"""Variables of the environment by the name of the contestant: as many threads as Go likes, or one for Go code."""

QUEUE = "peer.go"
SOURCES = ROOT / "benchmarks" / "peers" / "go"
BUILT = ROOT / ".local" / "bench"
TRIES = 3
PAUSE_S = 2.0
DOWNLOAD_WITHIN_S = 45.0
BUILD_WITHIN_S = 300.0

# Go must not replace itself by another version, which it would download.
_ENVIRONMENT = {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false", "CGO_ENABLED": "0"}


def ensure(notify: Callable[[str], None]) -> Path | None:
    """Return the program, and build it if needed; None, after a notice, if that is not possible."""
    program = BUILT / f"go-peer-{_digest()}"
    if program.exists():
        return program
    if shutil.which("go") is None:
        notify("There is no Go here (no `go` on PATH), so the peer in Go is left out.")
        return None
    problem = _download() or _build(program)
    if problem is not None:
        notify(f"The peer in Go is left out: {problem}")
        return None
    return program


def version(program: Path) -> str:
    """Return the version of Go that built the program."""
    done = subprocess.run([program, "version"], capture_output=True, text=True, check=True)
    return done.stdout.strip().removeprefix("go")


def process(name: str, program: Path, command: str, **environment: str) -> ChildProcess:
    """Prepare the program as a contestant, a key of `THREADS`."""
    return stage.program(name, program, [command], {**environment, **THREADS[name]})


def _digest() -> str:
    """Return a short name for the present sources."""
    content = b"".join(path.read_bytes() for path in sorted(SOURCES.iterdir()))
    return hashlib.sha256(content).hexdigest()[:12]


def _download() -> str | None:
    """Download the modules, in several tries because a module proxy may be busy; return the problem, if any."""
    for number in range(TRIES):
        if number:
            time.sleep(PAUSE_S)
        problem = _go("mod", "download", within_s=DOWNLOAD_WITHIN_S)
        if problem is None:
            return None
    return problem


def _build(program: Path) -> str | None:
    BUILT.mkdir(parents=True, exist_ok=True)
    unfinished = program.with_suffix(".new")  # an interrupted build must not leave half a program
    problem = _go("build", "-o", str(unfinished), within_s=BUILD_WITHIN_S)
    if problem is None:
        unfinished.replace(program)
    return problem


def _go(*arguments: str, within_s: float) -> str | None:
    """Run a command of Go; return the last line of its output if it failed."""
    try:
        done = subprocess.run(
            ["go", *arguments],
            cwd=SOURCES,
            env={**os.environ, **_ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=within_s,
        )
    except subprocess.TimeoutExpired:
        return f"`go {arguments[0]}` took longer than {within_s:.0f} s"
    if done.returncode == 0:
        return None
    return next(reversed(done.stderr.strip().splitlines()), f"`go {arguments[0]}` ended with {done.returncode}")
