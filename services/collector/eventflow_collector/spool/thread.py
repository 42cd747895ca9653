"""Calls that may hang as long as a disk does, on threads that nothing waits for."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from eventflow_collector.spool.store import SpoolUnavailableError

T = TypeVar("T")


def on_thread(work: Callable[[], T], *, name: str) -> "asyncio.Future[T]":
    """Start `work` on a thread of its own; the future gets what it returns or raises.

    Not asyncio's executor: the loop and the interpreter wait for its threads before they end, and would for ever.

    Raises:
        SpoolUnavailableError: There can be no further thread; in the future.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            settle = partial(_set_result, future, work())
        except Exception as error:  # noqa: BLE001 - raised where the future is awaited
            settle = partial(_set_exception, future, error)
        tell(loop, settle)

    try:
        start_thread(run, name=name)
    except SpoolUnavailableError as error:
        future.set_exception(error)
    return future


def start_thread(work: Callable[[], None], *, name: str) -> None:
    """Start a thread that the end of the process does not wait for.

    Raises:
        SpoolUnavailableError: There can be no further thread now: a limit of processes, or no memory.
    """
    try:
        threading.Thread(target=work, name=name, daemon=True).start()
    except RuntimeError as error:
        raise SpoolUnavailableError("no thread can be started") from error


def tell(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    """Call back on the loop, unless the process has given up on this thread and closed it."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(callback)


def _set_result(future: "asyncio.Future[T]", result: T) -> None:
    if not future.done():
        future.set_result(result)


def _set_exception(future: "asyncio.Future[T]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
