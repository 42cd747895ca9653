"""Several worker processes behind one bound socket.

The parent binds the socket once and serves the admin port; the workers inherit the socket. A socket pair, the *link*,
connects each worker with the parent. The worker reports its readiness and metrics over it, and each side detects the
end of the other by an end of file.
"""

import asyncio
import itertools
import json
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from eventflow.errors import EventFlowError, SettingsError
from eventflow.service import lifecycle
from eventflow.service.admin import Readiness
from eventflow.tasks import cancel_and_wait
from eventflow.telemetry.metrics import WorkersMetrics, families_of
from eventflow_collector.server.worker import Worker, report_changes

CRASHES_MAX = 5
CRASHES_WINDOW_S = 60.0
RESTART_PAUSE_S = 0.5
READINESS_POLL_S = 0.1
KILL_AFTER_S = 5.0
METRICS_EVERY_S = 5.0
METRICS_WITHIN_S = 1.0
REPORT_MAX_BYTES = 64 * 1024 * 1024
"""Longest line on the link, far longer than the metrics of a thousand flows."""

HURRY = b"hurry\n"
"""Line by which the parent hurries the stop of a worker. A second SIGTERM would not do, because systemd may send one to
workers too."""

log = structlog.stdlib.get_logger()


class WorkerFailedError(EventFlowError):
    """Workers end repeatedly."""


class Supervisor:
    """Keeps a number of workers alive until it is stopped."""

    def __init__(
        self,
        *,
        workers: int,
        listener: socket.socket,
        metrics: WorkersMetrics,
        config: Path | None,
        stop_within_s: float,
    ) -> None:
        """Take the parts; no process starts before `run`.

        Args:
            workers: Number of processes.
            listener: The bound socket, which the workers inherit.
            metrics: Sums the metrics of the workers.
            config: TOML file from the command line.
            stop_within_s: The longest time that an orderly stop of a worker takes.
        """
        self._workers = workers
        self._listener = listener
        self._metrics = metrics
        self._config = config
        self._stop_within_s = stop_within_s
        self._states: dict[int, Readiness] = {}
        self._links: dict[int, asyncio.StreamWriter] = {}
        self._questions: dict[int, asyncio.Future[None]] = {}
        self._asked = itertools.count()
        self._crashes: deque[float] = deque(maxlen=CRASHES_MAX)
        self._processes: set[asyncio.subprocess.Process] = set()
        self._stopping = False

    def readiness(self) -> Readiness:
        """Return whether any worker is ready: one suffices, because it can serve all connections."""
        ready = [state for state in self._states.values() if state.ready]
        details = {
            "stopping": self._stopping,
            "workers": self._workers,
            "ready_workers": len(ready),
            "spooling": any(state.details.get("spooling", False) for state in self._states.values()),
            "states": [s.details for s in self._states.values()],
        }
        return Readiness(ready=bool(ready) and not self._stopping, details=details)

    async def refresh_metrics(self) -> None:
        """Request the metrics of every worker. The wait for them is short, because a worker may be busy or ending."""
        questions = {next(self._asked): link for link in self._links.values()}
        answers = {number: asyncio.get_running_loop().create_future() for number in questions}
        self._questions |= answers
        for number, link in questions.items():
            link.write(b"%d\n" % number)
        if answers:
            await asyncio.wait(answers.values(), timeout=METRICS_WITHIN_S)
        for number in answers:
            del self._questions[number]

    async def run(self, stop: lifecycle.Stop) -> None:
        """Run the workers until the stop is requested; then wait until each has stopped, after the same delay.

        Raises:
            WorkerFailedError: A crash loop.
            SettingsError: A worker cannot work with these settings.
        """
        keeping = [asyncio.create_task(self._keep_alive(index)) for index in range(self._workers)]
        try:
            await lifecycle.until_stopped(stop.requested, *keeping)
        finally:
            self._stopping = True
            self._listener.close()  # the workers have it too, and the last one of them to close it ends it
            await self._stop_workers(stop)
            await cancel_and_wait(*keeping)

    async def _keep_alive(self, index: int) -> None:
        while True:
            try:
                status = await self._run_worker(index)
            except OSError as error:  # the system has no free process or descriptor now, and may have one later
                log.error("worker.not_started", worker=index, reason=str(error))  # noqa: TRY400 - expected
            else:
                if self._stopping:
                    return
                log.error("worker.died", worker=index, status=status)
                self._count_crash(status)
            await asyncio.sleep(RESTART_PAUSE_S)
            if self._stopping:  # the socket that a worker inherits is closed
                return

    def _count_crash(self, status: int) -> None:
        if status == lifecycle.EXIT_CONFIGURATION:
            raise SettingsError("a worker cannot work with these settings; its own error message is above this one")
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
                *("-m", "eventflow_collector", *arguments),
                pass_fds=(self._listener.fileno(), theirs.fileno()),
                start_new_session=True,  # so that Ctrl-C in a terminal reaches only the parent, which stops its workers
            )
        log.info("worker.started", worker=index, pid=process.pid)
        self._processes.add(process)
        reading = asyncio.create_task(self._read_reports(index, ours))
        try:
            return await process.wait()
        finally:
            self._processes.discard(process)
            await asyncio.wait({reading}, timeout=METRICS_WITHIN_S)  # until its last report is read
            await cancel_and_wait(reading)
            self._states.pop(index, None)
            self._metrics.end(index)

    async def _read_reports(self, index: int, link: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=link, limit=REPORT_MAX_BYTES)
        self._links[index] = writer
        try:
            while (line := await reader.readline()).endswith(b"\n"):
                self._on_report(index, json.loads(line))
        finally:
            del self._links[index]
            writer.close()

    def _on_report(self, index: int, report: Mapping[str, Any]) -> None:
        match report:
            case {"metrics": families, "question": question}:
                self._metrics.report(index, families)
                answer = self._questions.get(question)
                if answer is not None and not answer.done():
                    answer.set_result(None)
            case _:
                self._states[index] = Readiness(**report)

    async def _stop_workers(self, stop: lifecycle.Stop) -> None:
        hurrying = asyncio.create_task(self._pass_on_hurry(stop))
        await self._signal_and_wait(signal.SIGTERM, self._stop_within_s + KILL_AFTER_S)
        await cancel_and_wait(hurrying)
        await self._signal_and_wait(signal.SIGKILL, KILL_AFTER_S)

    async def _pass_on_hurry(self, stop: lifecycle.Stop) -> None:
        await stop.hurried.wait()
        for link in self._links.values():
            link.write(HURRY)

    async def _signal_and_wait(self, number: signal.Signals, timeout_s: float) -> None:
        for process in self._processes:
            with suppress(ProcessLookupError):
                process.send_signal(number)
        waiting = [asyncio.create_task(process.wait()) for process in self._processes]
        if waiting:
            await asyncio.wait(waiting, timeout=timeout_s)


class ParentLink:
    """The worker's side of the link to its parent."""

    def __init__(
        self, worker: Worker, stop: lifecycle.Stop, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._worker = worker
        self._stop = stop
        self._reader = reader
        self._writer = writer

    def report_state(self, state: Readiness) -> None:
        """Report whether the worker is ready."""
        self._write({"ready": state.ready, "details": dict(state.details)})

    async def answer_questions(self) -> None:
        """Report the metrics at each request of the parent, and hurry if it hurries, until it has ended."""
        while line := await self._reader.readline():
            if line == HURRY:
                self._stop.hurry()
            else:
                self._report_metrics(question=int(line))

    async def report_metrics_regularly(self) -> None:
        """Report the metrics regularly, so that only the last seconds of a killed worker are missing."""
        while True:
            await asyncio.sleep(METRICS_EVERY_S)
            if not self._writer.transport.get_write_buffer_size():  # otherwise a parent that does not read fills memory
                self._report_metrics(question=None)

    def _report_metrics(self, *, question: int | None) -> None:
        self._write({"metrics": families_of(self._worker.metrics.registry), "question": question})

    def _write(self, report: Mapping[str, Any]) -> None:
        self._writer.write(json.dumps(report).encode() + b"\n")


async def run_as_worker(
    worker: Worker, listener: socket.socket, link: socket.socket, stop: lifecycle.Stop, *, parent_pid: int
) -> None:
    """Run one worker: report readiness and metrics to the parent, and stop in order when the parent has ended."""
    reader, writer = await asyncio.open_connection(sock=link)
    parent = ParentLink(worker, stop, reader, writer)

    def link_ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            # An error means the same as an end of file: if the parent dies with unread reports, the link is reset.
            log.warning("worker.orphaned", action="stopping", reason=str(task.exception() or "end of file"))
            stop.hurry()  # it keeps the port, which the next parent needs

    tasks = [
        asyncio.create_task(report_changes(worker.readiness, parent.report_state, every_s=READINESS_POLL_S)),
        asyncio.create_task(parent.answer_questions()),
        asyncio.create_task(parent.report_metrics_regularly()),
    ]
    for task in tasks:
        task.add_done_callback(link_ended)
    lifecycle.end_with_parent(parent_pid)
    try:
        await worker.run(listener)
    finally:
        await cancel_and_wait(*tasks)
        writer.close()
