"""Blocking calls on daemon threads, which neither the event loop nor the end of the process waits for."""

import asyncio
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
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            resolve = partial(future.set_result, work())
        except Exception as error:  # noqa: BLE001 - raised again where the future is awaited
            resolve = partial(future.set_exception, error)
        call_on_loop(loop, lambda: None if future.done() else resolve())  # done if it was cancelled meanwhile

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


def call_on_loop(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    """Call back on the loop, from another thread. Do nothing if the loop is closed: nothing waits for the call then."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(callback)
