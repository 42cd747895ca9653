"""What a program of ours does before anything else, its imports included, which take half a second."""

import os
import signal
from types import FrameType


def begin() -> None:
    """Let SIGTERM end this process from now on, and keep prometheus_client from files.

    The kernel drops a signal to a process with the id 1 that has no handler for it, so that a container stopped in its
    first moments would run on until it is killed. prometheus_client takes its variable, if somebody has set it, for the
    wish to keep every metric in a file that may be full or not there.
    """
    signal.signal(signal.SIGTERM, _end)
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)


def _end(number: int, _: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)  # as if there were no handler
    os._exit(128 + number)  # with the id 1 we are still here
