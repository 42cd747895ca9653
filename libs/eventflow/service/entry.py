"""The first steps of each program, before its imports, which take half a second."""

import os
import signal
from types import FrameType


def begin() -> None:
    """Let SIGTERM end this process from now on, and keep prometheus_client from files.

    The kernel drops a signal to a process with the id 1 that has no handler for it, so that a container stopped in its
    first moments would run on until it is killed. If its variable is set, prometheus_client keeps every metric in a
    file, which may be full or cannot be made.
    """
    signal.signal(signal.SIGTERM, _end)
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)


def _end(number: int, _: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)  # as if there were no handler
    os._exit(128 + number)  # with the id 1 we are still here
