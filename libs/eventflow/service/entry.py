"""The first step of each program, before its other imports, which take half a second."""

import os
import signal
from types import FrameType


def begin() -> None:
    """Make SIGTERM end this process from now on, and keep prometheus_client from using files.

    The kernel drops a signal to process 1 if that has no handler. So a container that is stopped during its start would
    run on until it is killed. With `PROMETHEUS_MULTIPROC_DIR` set, prometheus_client would keep each metric in a file,
    which fails if the disk is full or the directory cannot be written.
    """
    signal.signal(signal.SIGTERM, _end)
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)


def _end(number: int, _: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)  # the exit status is that of a process without a handler
    os._exit(128 + number)  # process 1 survives its own signal
