"""From start to a clean end: signals ask for a stop, and the entry point turns errors into exit statuses."""

import asyncio
import ctypes
import gc
import os
import resource
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, NoReturn

import structlog
import uvloop

from eventflow.errors import EventFlowError, SettingsError, TopologyMismatchError

EXIT_PROBLEM = 1
EXIT_CONFIGURATION = 78
"""sysexits' EX_CONFIG: starting again cannot help, somebody has to change something."""

_PR_SET_PDEATHSIG = 1
"""Of Linux's prctl(2)."""

GC_THRESHOLDS = (20_000, 20, 50)
"""Far fewer looks for cycles than by default: hardly any come up, and looking for them cost a tenth of an event."""

log = structlog.stdlib.get_logger()


def raise_descriptor_limit() -> int:
    """Let this process open as many files and sockets as it may; return how many.

    Shells and systemd set a low soft limit for the sake of programs that use `select`, which fails beyond 1024. Nothing
    here does: the event loop uses epoll or kqueue.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return _descriptors(soft)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:  # macOS reports an unlimited number, and does not take it
        log.warning("descriptors.limit_kept", limit=_descriptors(soft), reason=str(error))
        return _descriptors(soft)
    log.info("descriptors.limit_raised", limit=_descriptors(hard), previously=soft)
    return _descriptors(hard)


def _descriptors(limit: int) -> int:
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit


def stop_requested() -> asyncio.Event:
    """Return an event that SIGTERM or SIGINT sets. Call it inside the running loop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def end_with_parent(parent_pid: int) -> None:
    """Let the kernel send us SIGTERM when the process that started us ends; Linux only.

    Call it after `stop_requested`. The kernel means the thread that started us: the parent must do so on its main one.
    """
    with suppress(OSError, AttributeError):  # another C library, or another system
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent_pid:  # it ended before
        os.kill(os.getpid(), signal.SIGTERM)


async def until_stopped(stop: asyncio.Event, *services: Awaitable[None]) -> None:
    """Wait for the stop, or for the first of the endless `services` to fail.

    Raises:
        EventFlowError: What a service failed of; a service that just returns has been stopped as well.
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


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> NoReturn:
    """Run a service to its end and leave the process with a status that a supervisor understands."""
    gc.freeze()  # what stands at the start stays, and what an event makes dies without help
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        uvloop.run(main())
    except (SettingsError, TopologyMismatchError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - one line for whoever started us, before or beside the logs
        sys.exit(EXIT_CONFIGURATION)
    except EventFlowError as error:
        log.error("service.failed", error=str(error))  # noqa: TRY400 - expected: its message says all
        sys.exit(EXIT_PROBLEM)
    sys.exit(0)
