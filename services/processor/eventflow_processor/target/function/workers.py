"""Daemon threads for functions that are not `async`. The end of the process does not wait for them."""

import queue
import threading
from collections.abc import Callable

Work = Callable[[], None]


class Workers:
    """At most a fixed number of threads, which begin when they are needed, and take calls in their order."""

    def __init__(self, *, threads_max: int, name: str) -> None:
        self._threads_max = threads_max
        self._name = name
        self._calls: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._unfinished = 0  # calls that wait or are made

    def submit(self, work: Work) -> None:
        """Let a thread do some work, which must not raise. It waits while all threads are at work.

        Raises:
            RuntimeError: No further thread can be started, and there is none.
        """
        self._calls.put(work)
        with self._lock:
            self._unfinished += 1
            if self._unfinished <= self._threads or self._threads == self._threads_max:
                return
            self._threads += 1
        try:
            threading.Thread(target=self._run, name=f"{self._name} {self._threads}", daemon=True).start()
        except RuntimeError:  # a limit of threads, or of memory
            with self._lock:
                self._threads -= 1
                if not self._threads:
                    raise

    def end(self) -> None:
        """End each thread when it is free."""
        for _ in range(self._threads):
            self._calls.put(None)

    def _run(self) -> None:
        while (work := self._calls.get()) is not None:
            work()
            del work  # a thread that waits must not keep the body of an event
            with self._lock:
                self._unfinished -= 1
