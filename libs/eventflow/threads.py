"""Blocking calls on daemon threads, which neither the event loop nor the end of the process waits for."""

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

T = TypeVar("T")


def on_daemon_thread(work: Callable[[], T], *, name: str) -> "asyncio.Future[T]":
    """Start a blocking call on a thread of its own; return a future of its result.

    The call may hang without a limit. asyncio's executor does not allow that: the loop and the interpreter wait
    for its threads before they end, and its few threads are shared by all calls.

    Raises:
        RuntimeError: No further thread can be started: a limit is reached, or there is no memory.
    """
    future, run = _reporting(work)
    threading.Thread(target=run, name=name, daemon=True).start()
    return future


class SerialThread:
    """A daemon thread that makes blocking calls one after the other, in their order. It starts with the first call."""

    def __init__(self, *, name: str, calls_max: int) -> None:
        """Make it.

        Args:
            name: Name of the thread.
            calls_max: Number of calls that may wait, so that a call that hangs does not fill the memory.
        """
        self._name = name
        self._calls_max = calls_max
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_ended = False

    def call(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        """Make a blocking call after all others; return a future of its result.

        If the future is cancelled before the call has begun, the call is not made.

        Raises:
            RuntimeError: Too many calls wait, the thread cannot be started, or it was ended.
        """
        if self._is_ended:
            raise RuntimeError("it is closed")
        if self._calls.qsize() >= self._calls_max:
            raise RuntimeError(f"{self._calls_max} calls wait")
        if self._thread is None:
            thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            thread.start()
            self._thread = thread  # only now: if the start has failed, the next call tries it again
        future, run = _reporting(work)
        self._calls.put(lambda: None if future.cancelled() else run())
        return future

    def end(self) -> None:
        """End the thread after the calls that wait. No further call is made."""
        self._is_ended = True
        self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()


def _reporting(work: Callable[[], T]) -> tuple["asyncio.Future[T]", Callable[[], None]]:
    """Return a future, and a function for another thread that makes a call and sets the result of the future."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            resolve = partial(future.set_result, work())
        except Exception as error:  # noqa: BLE001 - raised again where the future is awaited
            resolve = partial(future.set_exception, error)
        call_on_loop(loop, lambda: None if future.done() else resolve())  # done if it was cancelled meanwhile

    return future, run


def call_on_loop(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    """Call back on the loop, from another thread. Do nothing if the loop is closed: nothing waits for the call then."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(callback)
