"""Replays in the background: each survives the page that has started it, and ends in order with the console."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final, Literal

import structlog

from eventflow.errors import EventFlowError
from eventflow.event import new_event_id, utc_now
from eventflow.operations.dead.browse import DeadTally
from eventflow.operations.dead.replay import replay
from eventflow.operations.dead.selection import Selection
from eventflow.operations.session import connected
from eventflow.settings.root import Settings
from eventflow.tasks import cancel_and_wait
from eventflow_console.dead_letters import DeadLetters

REMEMBERED: Final = 50
"""Replays that have ended and can still be shown."""

END_WITHIN_S: Final = 5.0

JobState = Literal["running", "done", "failed", "cancelled"]

log = structlog.stdlib.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A replay at one moment.

    Attributes:
        by: The operator who has started it.
        total: Dead letters to read; 0 until reading begins.
        seen: Dead letters that were read.
        done: Events that were sent again.
        missing: Selected ids of which there was no dead letter.
        error: The reason for which it has failed, in a sentence.
    """

    id: str
    flow: str
    by: str
    started_at: datetime
    ended_at: datetime | None = None
    state: JobState = "running"
    total: int = 0
    seen: int = 0
    done: int = 0
    missing: tuple[str, ...] = ()
    error: str | None = None


class _Replay:
    """A replay that runs or has ended."""

    def __init__(self, flow: str, selection: Selection, *, by: str) -> None:
        self.id = new_event_id()
        self.flow = flow
        self.selection = selection
        self.by = by
        self.tally = DeadTally()
        self.started_at = utc_now()
        self.ended_at: datetime | None = None
        self.state: JobState = "running"
        self.error: str | None = None
        self.task: asyncio.Task[None] | None = None

    def end(self, state: JobState, error: str | None = None) -> None:
        self.state, self.error, self.ended_at = state, error, utc_now()

    @property
    def is_cut_short(self) -> bool:
        return self.tally.is_ending and self.tally.seen < self.tally.total

    @property
    def job(self) -> Job:
        return Job(
            id=self.id,
            flow=self.flow,
            by=self.by,
            started_at=self.started_at,
            ended_at=self.ended_at,
            state=self.state,
            total=self.tally.total,
            seen=self.tally.seen,
            done=self.tally.done,
            missing=tuple(sorted(self.selection.ids - self.tally.found_ids)) if self.state == "done" else (),
            error=self.error,
        )


class Jobs:
    """Starts replays, at most one for each flow, and remembers the latest ones."""

    def __init__(self, settings: Settings, dead_letters: DeadLetters) -> None:
        self._urls = settings.broker.urls
        self._dead_letters = dead_letters
        self._replays: list[_Replay] = []

    async def replay(self, flow: str, selection: Selection, *, by: str) -> Job:
        """Start to send the selected dead letters again, over a connection of their own.

        Raises:
            BusyError: Another operation reads the dead letters of the flow.
        """
        reader = f"A replay that {by} has started reads the dead letters of flow {flow}. Try again when it has ended."
        end_turn = await self._dead_letters.take_turn(flow, reader=reader)
        running = _Replay(flow, selection, by=by)
        self._remember(running)
        running.task = asyncio.create_task(self._run(running))
        # A callback and no `finally`: a task that is cancelled before its first step runs none of its code.
        running.task.add_done_callback(partial(_end, running, end_turn))
        return running.job

    def job(self, job_id: str) -> Job | None:
        """Return a replay; None if there is none with this id, or if it was forgotten."""
        running = self._find(job_id)
        return None if running is None else running.job

    def latest(self, flow: str | None = None) -> Sequence[Job]:
        """Return the latest replays of a flow, or of all; the newest first."""
        return [running.job for running in reversed(self._replays) if flow in (None, running.flow)]

    async def cancel(self, job_id: str) -> Job | None:
        """End a replay after the dead letters that are being sent; return it, or None as `job`."""
        running = self._find(job_id)
        if running is None:
            return None
        await _end_in_order(running)
        return running.job

    async def close(self) -> None:
        """End all replays. Dead letters that were not sent again stay where they are."""
        await asyncio.gather(*map(_end_in_order, self._replays))

    def _find(self, job_id: str) -> _Replay | None:
        return next((running for running in self._replays if running.id == job_id), None)

    def _remember(self, running: _Replay) -> None:
        ended = [each for each in self._replays if each.state != "running"]
        for forgotten in ended[: max(0, len(ended) - REMEMBERED + 1)]:
            self._replays.remove(forgotten)
        self._replays.append(running)

    async def _run(self, running: _Replay) -> None:
        async with connected(self._urls) as link:
            await replay(link, self._dead_letters.queue(running.flow), running.selection, running.tally)


async def _end_in_order(running: _Replay) -> None:
    """End a replay after the dead letters that are being sent, or cancel it if that takes longer than 5 s."""
    if running.task is not None:
        running.tally.is_ending = True
        await asyncio.wait({running.task}, timeout=END_WITHIN_S)
        await cancel_and_wait(running.task)


def _end(running: _Replay, end_turn: Callable[[], None], task: "asyncio.Task[None]") -> None:
    """Note the end of a replay."""
    end_turn()
    if task.cancelled() or (task.exception() is None and running.is_cut_short):
        running.end("cancelled")
    elif (error := task.exception()) is None:
        running.end("done")
    elif isinstance(error, EventFlowError):
        running.end("failed", str(error))
    else:
        log.error("internal.error", place="replay", exc_info=error)
        running.end("failed", f"the console met an internal error: {type(error).__name__}")
    job = running.job
    log.info(
        "replay.ended",
        flow=job.flow,
        by=job.by,
        state=job.state,
        replayed=job.done,
        read=job.seen,
        of=job.total,
        reason=job.error,
    )
