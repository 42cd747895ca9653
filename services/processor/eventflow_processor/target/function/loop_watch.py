"""Reports an `async` function that blocks the event loop: nothing else of the processor works meanwhile.

Such a function waits without `await`, for example in `time.sleep`, or computes for long. Only a thread can notice this
while it lasts.
"""

import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import StackSummary, extract_stack

from eventflow.message import Envelope
from eventflow_processor.target.function.calls import Calls

BEAT_EVERY_S = 0.2
BLOCKED_S = 1.0
"""Time without a beat of the loop after which it is blocked."""


class LoopWatch:
    """Watches the loop on which it is started, on a thread of its own."""

    def __init__(self) -> None:
        self._running: dict[asyncio.Task[None], tuple[Calls, Envelope]] = {}
        self._beat_s = 0.0
        self._is_started = False

    def add(self, task: asyncio.Task[None], calls: Calls, envelope: Envelope) -> None:
        """Report the call that a task makes if it blocks the loop."""
        self._running[task] = calls, envelope
        task.add_done_callback(self._running.pop)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch while the context is open. Another start inside changes nothing."""
        if self._is_started:
            yield
            return
        self._is_started = True
        loop, ended = asyncio.get_running_loop(), threading.Event()
        self._beat(loop)
        arguments = (loop, threading.get_ident(), ended)
        threading.Thread(target=self._watch, args=arguments, name="loop watch", daemon=True).start()
        try:
            yield
        finally:
            ended.set()
            self._timer.cancel()
            self._is_started = False

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        self._beat_s = time.monotonic()
        self._timer = loop.call_later(BEAT_EVERY_S, self._beat, loop)

    def _watch(self, loop: asyncio.AbstractEventLoop, thread: int, ended: threading.Event) -> None:
        reported_s = 0.0
        while not ended.wait(BEAT_EVERY_S):
            beat_s = self._beat_s
            if time.monotonic() - beat_s < BLOCKED_S or beat_s == reported_s:
                continue
            task = asyncio.current_task(loop)
            call = None if task is None else self._running.get(task)
            frame = sys._current_frames().get(thread)  # noqa: SLF001 - the documented way to the stack of a thread
            if call is not None and frame is not None:
                reported_s = beat_s  # once for each time
                _report(*call, extract_stack(frame))


def _report(calls: Calls, envelope: Envelope, stack: StackSummary) -> None:
    of_function = [each for each in stack if each.filename == calls.function.file]
    line = (of_function or stack)[-1]
    calls.blocked(envelope, at=f"{line.filename}:{line.lineno} in {line.name}", code=line.line)
