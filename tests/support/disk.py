"""A disk that fails or hangs on demand, below a real process: `faulty_disk.c`, preloaded."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from sandbox.system_package import InstallError, Package, install
from tests.support.means import cannot

SOURCE = Path(__file__).with_name("faulty_disk.c")
COMPILER = Package(title="a C compiler", names={"apt-get": ("gcc", "libc6-dev"), "dnf": ("gcc",)}, units={})


class FaultyDisk:
    """Faults of the files in one directory, as the processes see them that run with its `variables`.

    Args:
        faults: Where the faults are kept; made if it is not there.
        files: The directory of the files.
    """

    def __init__(self, faults: Path, *, files: Path) -> None:
        self._faults = faults
        self._faults.mkdir(exist_ok=True)
        self._files = files
        self._library = _compiled(faults.with_suffix(".so"))

    @property
    def variables(self) -> Mapping[str, str]:
        return {
            "LD_PRELOAD": str(self._library),
            "FAULTY_DISK_FAULTS": str(self._faults),
            "FAULTY_DISK_FILES": str(self._files),
        }

    def hang(self, *calls: str) -> None:
        """Let calls hang until `heal`: `open`, `flock`, `fsync`, `statvfs`."""
        for call in calls:
            self._set(call, "hang")

    def fail(self, call: str, error: int) -> None:
        """Let calls fail with an error number."""
        self._set(call, str(error))

    def lie(self, call: str) -> None:
        """Let calls succeed and do nothing."""
        self._set(call, "grant")

    def heal(self) -> None:
        """Let all calls go on."""
        for fault in self._faults.iterdir():
            fault.unlink()

    def _set(self, call: str, fault: str) -> None:
        whole = self._faults / f"new-{call}"
        whole.write_text(fault)
        whole.rename(self._faults / call)


def _compiled(target: Path) -> Path:
    """Compile the library; skips the test where there is no compiler, and fails it in CI."""
    compiler = _compiler()
    if compiler is None and os.environ.get("CI") == "true":
        try:
            install(COMPILER, print)
        except InstallError as error:
            cannot(f"no C compiler, for a disk that hangs: {error}")
        compiler = _compiler()
    if compiler is None or sys.platform != "linux":
        cannot("no C compiler, or no Linux, for a disk that hangs")
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", target, SOURCE, "-ldl"], check=True)
    return target


def _compiler() -> str | None:
    return next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)
