"""Several worker processes behind one bound socket.

The parent binds once and serves admin; workers inherit the socket. Each worker shares a socket pair with the parent: on
it the worker tells whether it is ready, and at its end, of any kind, either side learns that the other has died.
"""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from collector.worker import Worker, announce
from eventflow import lifecycle
from eventflow.admin import Readiness
from eventflow.errors import EventFlowError, SettingsError
from eventflow.telemetry.metrics import MULTIPROCESS_VARIABLE, forget_worker

CRASHES_MAX = 5
CRASHES_WINDOW_S = 60.0
RESTART_PAUSE_S = 0.5
READINESS_POLL_S = 0.1
KILL_AFTER_S = 5.0

log = structlog.stdlib.get_logger()


class WorkerFailedError(EventFlowError):
    """Workers end again and again."""


class Supervisor:
    """Keeps a number of workers alive until the stop."""

    def __init__(
        self,
        *,
        workers: int,
        listener: socket.socket,
        metrics_directory: Path,
        config: Path | None,
        drain_timeout_s: float,
    ) -> None:
        """Prepare; no process starts before `run`."""
        self._workers = workers
        self._listener = listener
        self._metrics_directory = metrics_directory
        self._config = config
        self._drain_timeout_s = drain_timeout_s
        self._states: dict[int, Readiness] = {}
        self._crashes: deque[float] = deque(maxlen=CRASHES_MAX)
        self._processes: set[asyncio.subprocess.Process] = set()
        self._stopping = False

    def readiness(self) -> Readiness:
        """Ready when any worker is: the others' connections are served again as soon as they are."""
        ready = [state for state in self._states.values() if state.ready]
        details = {
            "workers": self._workers,
            "ready_workers": len(ready),
            "spooling": any(state.details.get("spooling", False) for state in self._states.values()),
            "states": [s.details for s in self._states.values()],
        }
        return Readiness(ready=bool(ready) and not self._stopping, details=details)

    async def run(self, stop: asyncio.Event) -> None:
        """Run the workers until the stop; then let each finish what it has in flight.

        Raises:
            WorkerFailedError: A crash loop.
            SettingsError: A worker cannot work with these settings.
        """
        keeping = [asyncio.create_task(self._keep_alive(index)) for index in range(self._workers)]
        try:
            await lifecycle.until_stopped(stop, *keeping)
        finally:
            self._stopping = True
            self._listener.close()
            await self._stop_workers()
            await lifecycle.cancel_and_wait(*keeping)

    async def _keep_alive(self, index: int) -> None:
        while True:
            try:
                status = await self._run_worker(index)
            except OSError as error:  # of no process or descriptor for it: there may be one later
                log.error("worker.not_started", worker=index, reason=str(error))  # noqa: TRY400 - expected
            else:
                if self._stopping:
                    return
                log.error("worker.died", worker=index, status=status)
                self._count_crash(status)
            await asyncio.sleep(RESTART_PAUSE_S)

    def _count_crash(self, status: int) -> None:
        if status == lifecycle.EXIT_CONFIGURATION:
            raise SettingsError("a worker cannot work with these settings; its own message stands above")
        now = time.monotonic()
        if len(self._crashes) == CRASHES_MAX and now - self._crashes[0] < CRASHES_WINDOW_S:
            raise WorkerFailedError(f"crash loop: more than {CRASHES_MAX} workers died within {CRASHES_WINDOW_S:g} s")
        self._crashes.append(now)

    async def _run_worker(self, index: int) -> int:
        ours, theirs = socket.socketpair()
        arguments = [
            *("--listen-fd", str(self._listener.fileno())),
            *("--link-fd", str(theirs.fileno())),
            *("--parent-pid", str(os.getpid())),
        ]
        if self._config is not None:
            arguments += ["--config", str(self._config)]
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "collector", *arguments),
                pass_fds=(self._listener.fileno(), theirs.fileno()),
                env={**os.environ, MULTIPROCESS_VARIABLE: str(self._metrics_directory)},
                start_new_session=True,  # a terminal's Ctrl-C reaches the parent, which stops its workers in order
            )
        log.info("worker.started", worker=index, pid=process.pid)
        self._processes.add(process)
        listening = asyncio.create_task(self._listen_to(index, ours))
        try:
            return await process.wait()
        finally:
            self._processes.discard(process)
            self._states.pop(index, None)
            forget_worker(process.pid, self._metrics_directory)
            await lifecycle.cancel_and_wait(listening)

    async def _listen_to(self, index: int, link: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=link)
        try:
            while line := await reader.readline():
                self._states[index] = Readiness(**json.loads(line))
        finally:
            writer.close()

    async def _stop_workers(self) -> None:
        await self._signal_and_wait(signal.SIGTERM, self._drain_timeout_s + KILL_AFTER_S)
        await self._signal_and_wait(signal.SIGKILL, KILL_AFTER_S)

    async def _signal_and_wait(self, number: signal.Signals, timeout_s: float) -> None:
        for process in self._processes:
            with suppress(ProcessLookupError):
                process.send_signal(number)
        waiting = [asyncio.create_task(process.wait()) for process in self._processes]
        if waiting:
            await asyncio.wait(waiting, timeout=timeout_s)


async def run_as_worker(
    worker: Worker, listener: socket.socket, link: socket.socket, stop: asyncio.Event, *, parent_pid: int
) -> None:
    """Be one worker: tell the parent whether we are ready, and stop in order when it is gone."""
    reader, writer = await asyncio.open_connection(sock=link)

    def tell(state: Readiness) -> None:
        writer.write(json.dumps({"ready": state.ready, "details": dict(state.details)}).encode() + b"\n")

    def link_ended(task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            # An error counts as much as an end-of-file: a parent that dies before it has read all resets the link.
            log.warning("worker.orphaned", action="stopping", reason=str(task.exception() or "end of file"))
            stop.set()

    tasks: list[asyncio.Task[Any]] = [
        asyncio.create_task(announce(worker.readiness, tell, every_s=READINESS_POLL_S)),
        asyncio.create_task(reader.read()),
    ]
    for task in tasks:
        task.add_done_callback(link_ended)
    lifecycle.end_with_parent(parent_pid)
    try:
        await worker.run(listener, stop)
    finally:
        await lifecycle.cancel_and_wait(*tasks)
        writer.close()
