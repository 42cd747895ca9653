"""Scenarios for the processors of a flow, and the conditions that must hold."""

import asyncio
from dataclasses import replace

from benchmarks.cpu import Meter
from benchmarks.rate_audit.figures import Quota, between, highest, utilisation
from benchmarks.rate_audit.row import Row
from benchmarks.rate_audit.stage import Stage, now_s

STEADY_SHARE = 0.98
STARTING_S = 15.0
"""Time for all processes to start and join; the first may already spend the whole quota."""

HELD_MAX = 2000
HELD_S = 5.0
"""A processor holds the events that its share needs for `HELD_S`, and at most `HELD_MAX`."""

JOIN_S = 4.0
THROTTLED_SHARE_MAX = 0.02
SETTLED_S = 3.0
BURST_S = 0.4
"""Shorter than the time between two requests with Shopify's figures."""


def backlog(quota: Quota, processors: int, *, for_s: float) -> int:
    """Return a number of events that lasts for a time, so that no processor waits for an event."""
    held = min(HELD_MAX, quota.requests_per_s * HELD_S)
    return round(quota.requests_per_s * (STARTING_S + for_s) + processors * held)


async def steady(stage: Stage, processors: int, *, measured_s: float) -> list[Row]:
    """Offer more events than the quota allows, and disturb nothing."""
    quota, fade_s = stage.quota, stage.quota.period_s(processors)
    await stage.fill(backlog(quota, processors, for_s=measured_s + fade_s))
    stage.start(processors)
    start_s = await stage.all_spend()
    meter = Meter(stage.pids)
    stage.show_step(f"measuring for {measured_s + fade_s:.0f} s")
    await asyncio.sleep(measured_s + fade_s)
    end_s, load = now_s(), meter.load()
    arrivals_s = await stage.audit.arrivals_s()
    row = Row(
        scenario="steady",
        quota=quota,
        processors=str(processors),
        utilisation=utilisation(arrivals_s, start_s=start_s, end_s=end_s, per_s=quota.requests_per_s, fade_s=fade_s),
        at_least=STEADY_SHARE,
        highest=highest(arrivals_s),
        bound=quota.bound(processors),
        throttled=await stage.throttled(),
        late_s=await stage.late_s(),
        load=load,
        problems=[] if await stage.waiting() else ["the backlog ran out"],
    )
    return [row]


async def lowered(stage: Stage, processors: int, *, for_s: float) -> list[Row]:
    """Halve the limit of the target without an announcement."""
    quota = stage.quota
    await stage.fill(backlog(quota, processors, for_s=for_s + SETTLED_S))
    stage.start(processors)
    await stage.all_spend()
    await asyncio.sleep(SETTLED_S)
    before = await stage.audit.summary()
    await stage.behave(rate=quota.rate_per_s / 2)
    stage.show_step(f"the target allows half for {for_s:.0f} s")
    await asyncio.sleep(for_s)
    after = await stage.audit.summary()
    requests, accepted, throttled = (after[word] - before[word] for word in ("received", "accepted", "throttled"))
    problems = [f"{before['throttled']} times 429 before"] if before["throttled"] else []
    if dead := await stage.dead():
        problems.append(f"{dead} dead letters")
    row = Row(
        scenario="target's limit halved",
        quota=quota,
        processors=str(processors),
        utilisation=accepted / (quota.requests_per_s / 2 * for_s),
        at_least=0.0,
        highest=highest(await stage.audit.arrivals_s()),
        bound=quota.bound(processors),
        throttled=throttled,
        late_s=await stage.late_s(),
        throttled_max=THROTTLED_SHARE_MAX * requests,
        remarks=[
            f"{throttled / requests:.1%} of {requests} requests got 429",
            "used: of the halved rate",
        ],
        problems=problems,
    )
    return [row]


async def shopify(stage: Stage, processors: int, *, watched_s: float) -> list[Row]:
    """Fill an idle flow, watch the burst, and then restart one processor during the backlog."""
    quota, fade_s = stage.quota, stage.quota.period_s(processors)
    stage.start(processors)
    await stage.consumers_are(processors)
    idle_s = JOIN_S + quota.burst / quota.rate_per_s + SETTLED_S
    stage.show_step(f"idle for {idle_s:.0f} s")
    await asyncio.sleep(idle_s)
    await stage.fill(backlog(quota, processors, for_s=2 * watched_s + quota.burst / quota.rate_per_s))
    stage.show_step("watching the burst and the time after it")
    await asyncio.sleep(1 + watched_s + fade_s)
    arrivals_s = await stage.audit.arrivals_s()
    burst = len(between(arrivals_s, arrivals_s[0], arrivals_s[0] + BURST_S))
    first = Row(
        scenario="idle, then a backlog",
        quota=quota,
        processors=str(processors),
        utilisation=utilisation(
            arrivals_s, start_s=arrivals_s[0] + 1, end_s=now_s(), per_s=quota.requests_per_s, fade_s=fade_s
        ),
        at_least=STEADY_SHARE,
        highest=highest(arrivals_s),
        bound=quota.bound(processors),
        throttled=(throttled := await stage.throttled()),
        late_s=await stage.late_s(),
        remarks=[f"a burst of {burst}"],
        problems=["too large a burst"] if burst * quota.cost > quota.at_once(processors) else [],
    )
    return [first, await _restart_one(stage, processors, watched_s=watched_s, throttled_before=throttled)]


async def _restart_one(stage: Stage, processors: int, *, watched_s: float, throttled_before: int) -> Row:
    quota, fade_s = stage.quota, stage.quota.period_s(processors)
    stopped_s = now_s()
    await stage.stop(stage.processors[-1:])
    stage.start(1)
    start_s = await stage.all_spend()
    stage.show_step("watching for a new burst")
    await asyncio.sleep(watched_s + fade_s)
    arrivals_s = between(await stage.audit.arrivals_s(), stopped_s, now_s())
    return Row(
        scenario="one started anew",
        quota=quota,
        processors=str(processors),
        utilisation=utilisation(arrivals_s, start_s=start_s, end_s=now_s(), per_s=quota.requests_per_s, fade_s=fade_s),
        at_least=STEADY_SHARE,
        highest=highest(arrivals_s),
        bound=replace(quota, burst=quota.cost).bound(processors),  # the burst has been spent
        throttled=await stage.throttled() - throttled_before,
        late_s=await stage.late_s(since_s=stopped_s),
    )
