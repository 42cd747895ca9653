"""The first steps of each program: before and after its other imports, which take half a second."""

import gc
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
    gc.disable()  # imports leave hardly any garbage, and looking for it takes a fifth of their time


def imported() -> None:
    """Turn on garbage collection, which `begin` turned off, and leave out of it all that the imports have made."""
    gc.freeze()
    gc.enable()


def _end(number: int, _: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)  # the exit status is that of a process without a handler
    os._exit(128 + number)  # process 1 survives its own signal
