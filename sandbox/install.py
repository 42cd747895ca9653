"""Installs pinned requirements into the virtual environment of its interpreter, and shows the progress.

python -m sandbox.install requirements-dev.lock

It imports the standard library only, because nothing else is installed yet.
"""

import re
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import IO

REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)
_FOUND = re.compile(r"(?:Collecting|Requirement already satisfied:) ([A-Za-z0-9._-]+)")
_INSTALLING = "Installing collected packages"
# Without bytecode: the interpreter compiles a module at its first import, and a run imports few of all these modules.
_PIP = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--no-compile"]
_PIP += ["--progress-bar", "off"]
_SHOW_EVERY_S = 0.2
_PLAIN_EVERY_S = 10.0
_BAR_CHARACTERS = 24
_TAIL_LINES = 20
_INTERRUPTED = 130


class Progress:
    """The progress of pip, from its lines and from the packages that are installed.

    pip prints nothing while it installs, which takes half of the time.
    """

    def __init__(self, requirements: str, site_packages: Path) -> None:
        self._wanted = {_canonical(name) for name in REQUIREMENT.findall(requirements)}
        self._site_packages = site_packages
        self._found = 0
        self._is_installing = False
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)

    def read(self, lines: IO[str]) -> None:
        """Read the lines of pip until their end."""
        for line in lines:
            self.tail.append(line.rstrip())
            self._found += _FOUND.match(line) is not None
            self._is_installing = self._is_installing or line.startswith(_INSTALLING)

    def __str__(self) -> str:
        """Return it as one line."""
        step, done = ("installing", self._installed()) if self._is_installing else ("downloading", self._found)
        wanted = len(self._wanted)
        filled = _BAR_CHARACTERS * min(done, wanted) // max(1, wanted)
        return f"[{'#' * filled:{_BAR_CHARACTERS}}] {step} {min(done, wanted)} of {wanted} packages"

    def _installed(self) -> int:
        names = (path.name.split("-")[0] for path in self._site_packages.glob("*.dist-info"))
        return len(self._wanted.intersection(map(_canonical, names)))


def _canonical(name: str) -> str:
    """Return a package name as the index compares it: `aio_pika` and `aio-pika` are the same."""
    return re.sub(r"[-_.]+", "-", name).lower()


def install(lock: Path) -> int:
    """Install the requirements in a lock file; return pip's exit status."""
    progress = Progress(lock.read_text(encoding="utf-8"), Path(sysconfig.get_path("purelib")))
    command = [*_PIP, "--require-hashes", "--requirement", str(lock)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
        assert pip.stdout is not None  # noqa: S101 - for the type checker: it is a pipe
        reader = threading.Thread(target=progress.read, args=[pip.stdout], daemon=True)
        reader.start()
        _show(progress, pip)
        reader.join()
    if pip.returncode:
        print("\n".join(progress.tail), file=sys.stderr)  # noqa: T201 - the output of this command
    return pip.returncode


def _show(progress: Progress, pip: "subprocess.Popen[str]") -> None:
    """Show the progress until pip ends: on one line of a terminal, or else a line now and then."""
    is_terminal = sys.stdout.isatty()
    began_s = time.monotonic()
    while pip.poll() is None:
        line = f"  {progress}, {time.monotonic() - began_s:.0f} s"
        if is_terminal:
            line = f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}"
        print(line, end="" if is_terminal else "\n", flush=True)  # noqa: T201 - the output of this command
        with suppress(subprocess.TimeoutExpired):
            pip.wait(_SHOW_EVERY_S if is_terminal else _PLAIN_EVERY_S)
    if is_terminal:
        print("\r\x1b[K", end="", flush=True)  # noqa: T201 - the output of this command


def main() -> None:
    """Install the lock file that the only argument names."""
    try:
        sys.exit(install(Path(sys.argv[1])))
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
