"""The end of a process: signals request a stop, and errors become exit statuses."""

import asyncio
import ctypes
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Collection, Coroutine
from contextlib import suppress
from typing import Any, NoReturn

import structlog
import uvloop

from eventflow.errors import EventFlowError, SettingsError, TopologyMismatchError
from eventflow.tasks import cancel_within

EXIT_PROBLEM = 1
EXIT_CONFIGURATION = 78
"""EX_CONFIG of sysexits.h: a restart cannot help, because a setting or the broker's queues must be changed."""

_PR_SET_PDEATHSIG = 1
"""Option of prctl(2) on Linux."""

GC_THRESHOLDS = (20_000, 20, 50)
"""Search for cyclic garbage far less often than by default: there is hardly any, and each event paid a tenth for it."""

TASKS_END_MAX_S = 1.0
"""Longest wait for tasks that are left when the service has ended, such as a function of a user."""

log = structlog.stdlib.get_logger()


class Stop:
    """A stop after a delay, in which the service is not ready and continues to work.

    Attributes:
        requested: Set by the first signal. The service is not ready from then on.
        due: Set at the end of the delay. The service finishes its work in progress and ends.
        hurried: Set by a second signal, which ends the delay. The service also ends each wait for work that its next
            start can do, such as sending the events of a spool.
    """

    def __init__(self, *, delay_s: float) -> None:
        self._delay_s = delay_s
        self.requested = asyncio.Event()
        self.due = asyncio.Event()
        self.hurried = asyncio.Event()

    def request(self) -> None:
        """Begin the delay. A second call changes nothing."""
        if not self.requested.is_set():
            self.requested.set()
            asyncio.get_running_loop().call_later(self._delay_s, self.due.set)

    def hurry(self) -> None:
        """Stop now. Work in progress is still finished."""
        for event in (self.requested, self.due, self.hurried):
            event.set()


def stop_requested() -> asyncio.Event:
    """Return an event that SIGTERM or SIGINT sets. Call this inside the running loop."""
    stop = asyncio.Event()
    _on_signals(stop.set)
    return stop


def delayed_stop(*, delay_s: float, takes_hurry: bool = True) -> Stop:
    """Return a stop that SIGTERM or SIGINT requests. Call this inside the running loop.

    Args:
        delay_s: Between the request and the stop.
        takes_hurry: Whether a second signal hurries the stop. False for a worker, because its service manager and its
            parent may each send a first one.
    """
    stop = Stop(delay_s=delay_s)

    def on_signal() -> None:
        if takes_hurry and stop.requested.is_set():
            stop.hurry()
        stop.request()

    _on_signals(on_signal)
    return stop


def end_with_parent(parent_pid: int) -> None:
    """Have the kernel send SIGTERM to this process when its parent process ends. Linux only.

    Call this after `stop_requested` or `delayed_stop`. The kernel sends the signal when the thread that started this
    process ends, so the parent must start it from its main thread.
    """
    with suppress(OSError, AttributeError):  # another C library, or another system
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent_pid:  # the parent ended before the call, so that no signal comes
        os.kill(os.getpid(), signal.SIGTERM)


async def until_stopped(stop: asyncio.Event, *services: Awaitable[None]) -> None:
    """Wait for the stop, or until the first of the endless `services` ends.

    Raises:
        EventFlowError: The error with which a service failed. A service that returns without one ends the wait too.
    """
    tasks = [asyncio.ensure_future(service) for service in services]
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({stopped, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        stopped.cancel()


def _on_signals(callback: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, callback)


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> NoReturn:
    """Run a service to its end, and exit with a status for the supervisor: 0, 1 or 78."""
    # Objects that exist at the start stay until the end, and those of an event are freed by their reference count.
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        status = _status_of(runner, main)
        if tasks := runner.run(_tasks_left()):
            # The end of the loop, and so that of the process, would wait for them without a limit.
            log.error("service.tasks_left", tasks=len(tasks))
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    sys.exit(status)


def _status_of(runner: asyncio.Runner, main: Callable[[], Coroutine[Any, Any, None]]) -> int:
    try:
        runner.run(main())
    except (SettingsError, TopologyMismatchError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - one line on stderr, because logs may not be configured yet
        return EXIT_CONFIGURATION
    except EventFlowError as error:
        log.error("service.failed", error=str(error))  # noqa: TRY400 - expected, so no traceback
        return EXIT_PROBLEM
    return 0


async def _tasks_left() -> Collection[asyncio.Task[Any]]:
    """Cancel all other tasks; return those that do not end."""
    return await cancel_within(asyncio.all_tasks() - {asyncio.current_task()}, TASKS_END_MAX_S)
