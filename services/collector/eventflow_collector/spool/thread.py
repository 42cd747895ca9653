"""Calls that hang while a disk hangs, on threads that nothing waits for."""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

from eventflow.spool.store import SpoolUnavailableError
from eventflow.threads import on_daemon_thread

T = TypeVar("T")


def on_thread(work: Callable[[], T], *, name: str) -> "asyncio.Future[T]":
    """Start a blocking call on a thread of its own; return a future of its result.

    Raises:
        SpoolUnavailableError: No further thread can be started. The future raises it.
    """
    try:
        return on_daemon_thread(work, name=name)
    except RuntimeError as error:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        unavailable = SpoolUnavailableError("no thread can be started")
        unavailable.__cause__ = error
        future.set_exception(unavailable)
        return future


def start_thread(work: Callable[[], None], *, name: str) -> None:
    """Start a thread that the end of the process does not wait for.

    Raises:
        SpoolUnavailableError: No further thread can be started now: a limit is reached, or there is no memory.
    """
    try:
        threading.Thread(target=work, name=name, daemon=True).start()
    except RuntimeError as error:
        raise SpoolUnavailableError("no thread can be started") from error
