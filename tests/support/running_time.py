"""The time in which this machine runs: a virtual machine can stand still for seconds, and everything on it with it."""

import functools
import threading
import time

TICK_S = 0.05
STANDS_STILL_S = 0.5
"""A thread that wakes up so much too late was not only waiting for its turn."""


def running_s() -> float:
    """Return the time by a clock that stands still with the machine; only differences have a meaning.

    It tells how long others have taken. A lower bound belongs to the usual clock, because timers go on meanwhile.
    """
    return _clock().now_s()


@functools.cache
def _clock() -> "_Clock":
    clock = _Clock()
    threading.Thread(target=clock.look_always, name="running-time", daemon=True).start()
    return clock


class _Clock:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._looked_s = time.monotonic()
        self._stood_still_s = 0.0

    def now_s(self) -> float:
        with self._lock:
            now_s = time.monotonic()
            late_s = now_s - self._looked_s - TICK_S
            if late_s > STANDS_STILL_S:
                self._stood_still_s += late_s
            self._looked_s = now_s
            return now_s - self._stood_still_s

    def look_always(self) -> None:
        while True:
            self.now_s()
            time.sleep(TICK_S)
