"""Runs one scenario on a cluster: load, fault, wait until all events are delivered, check."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from tests.availability.figures import GAP, above_quota, gaps, quota_used
from tests.availability.load import Load
from tests.availability.result import Run, broken_bounds
from tests.availability.scenario import C, Leftovers, Scenario, World
from tests.availability.target import AuditingTarget
from tests.availability.terminal import show
from tests.chaos.checker import History, check

UNDISTURBED_S = 10.0
"""Time of the load before the fault. Its use of the quota does not count: the first events find no backlog."""

PROGRESS_EVERY_S = 10.0
LATE_MAX_S = 0.1


async def run(scenario: Scenario[C], cluster: C, target: AuditingTarget) -> Run:
    """Prepare a scenario, and run it to its end, even if its fault raises an error."""
    show(f"{scenario.name}: preparing")
    await scenario.prepare(cluster)
    show(f"{scenario.name}: the load begins")
    load = Load(
        cluster.address,
        api_key=cluster.api_key,
        rate_per_s=scenario.events_per_s,
        fresh_share=scenario.fresh_share,
    )
    counts_from_s = time.monotonic() + UNDISTURBED_S
    world = World(cluster=cluster, target=target, load=load, quota_from_s=counts_from_s)
    load.start()
    progress = asyncio.create_task(_show_progress(world))
    try:
        await asyncio.sleep(UNDISTURBED_S)
        await _disturb(scenario, world)
    finally:
        await load.stop()
        progress.cancel()
    slowest = max(load.answers, key=lambda answer: answer.wait_s, default=None)
    if slowest is not None:
        show(f"the slowest answer took {slowest.wait_s:.2f} s, {slowest.sent_s - load.started_s:.0f} s after the start")
    missing = await _rest(world, within_s=scenario.rest_within_s)
    if missing:
        world.problems.append(f"{missing} events were not delivered {scenario.rest_within_s:g} s after the load")
    return await _result(scenario, world)


async def _disturb(scenario: Scenario[C], world: World[C]) -> None:
    try:
        await scenario.fault(world)
    except Exception as error:  # noqa: BLE001 - the account of the events matters most after an error
        world.problems.append(f"{type(error).__name__}: {error}")
    await asyncio.sleep(scenario.calm_s)


async def _rest(world: World[C], *, within_s: float) -> int:
    """Wait until all accepted events have reached the target; return the number of missing ones."""
    accepted = set(world.load.accepted)
    show(f"waiting until {len(accepted)} events are delivered")
    before = (await world.target.audit.accepted_counts()).keys() - accepted
    delivery = await world.target.audit.wait_for(
        accepted, timeout_s=within_s, accepted_before=len(before), on_progress=_sometimes(of=len(accepted))
    )
    return len(delivery.lost_ids)


def _sometimes(*, of: int) -> Callable[[int], None]:
    """Return a function that shows the number of delivered events from time to time."""
    next_s = 0.0

    def on_progress(delivered: int) -> None:
        nonlocal next_s
        if time.monotonic() >= next_s:
            show(f"delivered {delivered} of {of}")
            next_s = time.monotonic() + PROGRESS_EVERY_S

    return on_progress


async def _result(scenario: Scenario[C], world: World[C]) -> Run:
    load, audit = world.load, world.target.audit
    left, delivered, arrivals_s = await asyncio.gather(
        world.cluster.leftovers(), audit.accepted_counts(), audit.arrivals_s(after_s=load.started_s)
    )
    if load.late_s > LATE_MAX_S:
        world.remarks.append(f"the load was late by up to {load.late_s:.1f} s")
    used = above = 0.0
    if (per_s := scenario.quota_per_s) is not None:
        used = quota_used(arrivals_s, from_s=world.quota_from_s, until_s=load.stopped_s, per_s=per_s)
        above = above_quota(arrivals_s, per_s=per_s)
        _show_gaps(world, arrivals_s, per_s=per_s)
    measured = Run(
        scenario=scenario.name,
        cluster=world.cluster.name,
        goal=scenario.goal,
        events_per_s=scenario.events_per_s,
        quota_per_s=scenario.quota_per_s,
        verdict=check(_history(load, delivered, left)),
        refused=dict(load.problems),
        longest_wait_s=load.longest_wait_s(),
        quota_used=used,
        above_quota=above,
        seconds=load.stopped_s - load.started_s,
        remarks=tuple(world.remarks),
        problems=tuple(world.problems),
    )
    return replace(measured, problems=(*measured.problems, *broken_bounds(measured)))


def _show_gaps(world: World[C], arrivals_s: Sequence[float], *, per_s: float) -> None:
    """Show when the quota was not used: what happened then explains it."""
    load = world.load
    found = [
        f"{start_s - load.started_s:.0f} s: {used:.0%}"
        for start_s, used in gaps(arrivals_s, from_s=world.quota_from_s, until_s=load.stopped_s, per_s=per_s)
    ]
    if found:
        show(f"seconds with less than {GAP:.0%} of the quota: {', '.join(found)}")


def _history(load: Load, delivered: Mapping[str, int], left: Leftovers) -> History:
    """Return the history of this load. The target and the queues may also have events of an earlier one."""
    return History(
        accepted=load.accepted,
        unaccepted=load.refused,
        delivered=load.own(delivered),
        dead=load.own(left.dead),
        waiting=load.own(left.waiting),
    )


async def _show_progress(world: World[C]) -> None:
    """Show the counts from time to time: a scenario takes minutes."""
    while True:
        await asyncio.sleep(PROGRESS_EVERY_S)
        load = world.load
        refused = f", refused {dict(load.problems)}" if load.problems else ""
        show(
            f"{time.monotonic() - load.started_s:3.0f} s: accepted {len(load.accepted)}{refused}, "
            f"longest wait {load.longest_wait_s():.2f} s"
        )
