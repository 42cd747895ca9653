"""Processors that join, leave and are cut off while the target counts."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass

from benchmarks.rate_audit.figures import between, highest, latest_s, recovery_s, utilisation
from benchmarks.rate_audit.row import Row
from benchmarks.rate_audit.scenarios import backlog
from benchmarks.rate_audit.stage import POLL_S, Stage, now_s
from benchmarks.waiting import until
from sandbox.broker.line import Line

MOST = 5
RECOVERY_MAX_S = 6.0
RECOVERED_SHARE = 0.95
WATCHED_S = RECOVERY_MAX_S + 4.0
FROZEN_S = 20.0
SETTLED_WITHIN_S = 60.0
WHOLE_S, BRIEF_S = 220.0, 60.0
"""Time for which the backlog must last."""

KEPT_TOLERANCE = 0.98
"""Tolerance for the shares of the remaining processors, as in the steady state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of the processors, and the time after it.

    Attributes:
        processors: Number of processors at the broker before and after the change.
        settled_s: Start of the 6 s in which the quota must be used again: the last change of that number or, if it
            did not change, the end of the change itself.
        kept: Share of the quota that must be used until then.
        throttled: Number of answers 429 from `began_s` to `ended_s`.
    """

    name: str
    processors: tuple[int, int]
    began_s: float
    settled_s: float
    ended_s: float
    kept: float
    throttled: int


class Roster:
    """Watches the number of processors that the broker knows."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._changed_s = 0.0
        self._is_stopped = False

    async def watch(self) -> None:
        """Record the time of each change of the number, until `stop`."""
        known = await self._stage.consumers()
        while not self._is_stopped:
            await asyncio.sleep(POLL_S)
            if (count := await self._stage.consumers()) != known:
                known, self._changed_s = count, now_s()

    def stop(self) -> None:
        """End `watch`. A cancellation during a request to the broker would close the channel of the stage."""
        self._is_stopped = True

    async def observe(self, name: str, change: Awaitable[None], *, kept: float = 0.0) -> Change:
        """Make a change and watch the time after it."""
        self._stage.show_step(name)
        before = await self._stage.consumers()
        throttled_before, began_s = await self._stage.throttled(), now_s()
        await change
        done_s = now_s()

        def settled_s() -> float:
            return self._changed_s if self._changed_s > began_s else done_s

        async def is_watched() -> bool:
            return now_s() > settled_s() + WATCHED_S

        await until(is_watched, within_s=SETTLED_WITHIN_S, every_s=POLL_S, what="the roster to settle")
        return Change(
            name=name,
            processors=(before, await self._stage.consumers()),
            began_s=began_s,
            settled_s=settled_s(),
            ended_s=now_s(),
            kept=kept,
            throttled=await self._stage.throttled() - throttled_before,
        )


async def scaling(stage: Stage, *, brief: bool) -> list[Row]:
    """Scale from 1 to 5 to 2 processors, by every way to leave and to be cut off.

    Args:
        brief: Leave out the changes that the broker notices late.
    """
    await stage.fill(backlog(stage.quota, MOST, for_s=BRIEF_S if brief else WHOLE_S))
    roster = Roster(stage)
    watching = asyncio.create_task(roster.watch())
    try:
        async with Line(stage.broker_url) as line:
            changes = [change async for change in _changes(stage, roster, line, brief=brief)]
    finally:
        roster.stop()
        await watching
    arrivals_s, stalls_s = await stage.audit.arrivals_s(), await stage.audit.stalls_s()
    problems = [] if await stage.waiting() else ["the backlog ran out"]
    return [
        _row(
            stage,
            change,
            arrivals_s,
            late_s=latest_s(stalls_s, start_s=change.began_s, end_s=change.ended_s),
            problems=problems,
        )
        for change in changes
    ]


async def _changes(stage: Stage, roster: Roster, line: Line, *, brief: bool) -> AsyncIterator[Change]:
    see, url = roster.observe, stage.broker_url
    yield await see("the first joins", _join(stage, url))
    yield await see("four join at once", _join(stage, url, url, url, line.url))
    yield await see("one is killed (SIGKILL)", _kill(stage))
    if not brief:
        yield await see("one joins", _join(stage, url))
        yield await see("one is frozen for 20 s (SIGSTOP)", _freeze(stage), kept=4 / 5)
        yield await see("one is cut off from the broker", _cut_off(stage, line), kept=4 / 5)
        yield await see("its line is mended", _mend(stage, line))
    yield await see("three leave at once (SIGTERM)", _leave(stage, 3))


async def _join(stage: Stage, *broker_urls: str) -> None:
    for broker_url in broker_urls:
        stage.start(1, broker_url=broker_url)
    await stage.consumers_are(len(stage.processors))


async def _kill(stage: Stage) -> None:
    stage.processors.pop(1).process.kill()
    await stage.consumers_are(len(stage.processors))


async def _freeze(stage: Stage) -> None:
    frozen = stage.processors[1].process
    frozen.pause()
    await asyncio.sleep(FROZEN_S)
    frozen.resume()
    await stage.consumers_are(len(stage.processors))


async def _cut_off(stage: Stage, line: Line) -> None:
    line.block()
    await stage.consumers_are(len(stage.processors) - 1)


async def _mend(stage: Stage, line: Line) -> None:
    line.unblock()
    await stage.consumers_are(len(stage.processors))


async def _leave(stage: Stage, count: int) -> None:
    await stage.stop(stage.processors[-count:])
    await stage.consumers_are(len(stage.processors))


def _row(stage: Stage, change: Change, arrivals_s: Sequence[float], *, late_s: float, problems: Sequence[str]) -> Row:
    per_s = stage.quota.requests_per_s
    recovered_s = recovery_s(
        arrivals_s, since_s=change.settled_s, until_s=change.ended_s, per_s=per_s, share=RECOVERED_SHARE
    )
    remarks, problems = [f"back above {RECOVERED_SHARE:.0%} after {recovered_s:.1f} s"], list(problems)
    if recovered_s > RECOVERY_MAX_S:
        problems.append(f"not back above {RECOVERED_SHARE:.0%} within {RECOVERY_MAX_S:g} s")
    if change.kept:
        kept = utilisation(arrivals_s, start_s=change.began_s, end_s=change.settled_s, per_s=per_s)
        remarks.append(f"{kept:.1%} in the {change.settled_s - change.began_s:.1f} s before")
        if kept < change.kept * KEPT_TOLERANCE:
            problems.append(f"below {change.kept:.0%} before")
    return Row(
        scenario=change.name,
        quota=stage.quota,
        processors=f"{change.processors[0]} → {change.processors[1]}",
        utilisation=utilisation(
            arrivals_s, start_s=change.settled_s + RECOVERY_MAX_S, end_s=change.ended_s, per_s=per_s
        ),
        at_least=RECOVERED_SHARE,
        highest=highest(between(arrivals_s, change.began_s, change.ended_s)),
        bound=stage.quota.bound(MOST),
        throttled=change.throttled,
        late_s=late_s,
        remarks=remarks,
        problems=problems,
    )
