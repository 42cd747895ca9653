"""Limits of one processor: attempts in flight and unsettled deliveries, computed if they are `auto`. Pure."""

import math

from eventflow.outcome import CONFIRM_MAX_S
from eventflow.settings.fields import MIB
from eventflow.settings.target import TargetSettings
from eventflow.topology import Lane
from eventflow_processor.retry import CRASH_PAUSE_S, HELD_IN_MEMORY_S, REPEAT_WAIT_MAX_S

UNLIMITED_CONCURRENCY = 64
QUORUM_PREFETCH_MAX = 2000
HELD_MAX_BYTES = 64 * MIB
SIDE_LANE_PREFETCH_MAX = 100
HELD_SLACK_S = 15.0


def attempts_per_timeout(target: TargetSettings) -> int | None:
    """Return the number of attempts that the quota allows within the deadline of one; None if it is unlimited."""
    if target.rate_per_s is None:
        return None
    return max(1, math.ceil(target.rate_per_s / target.cost * target.timeout_s))


def concurrency_of(target: TargetSettings) -> int:
    """Return the largest number of attempts in flight."""
    return target.concurrency or attempts_per_timeout(target) or UNLIMITED_CONCURRENCY


def prefetch_of(target: TargetSettings, *, configured: int | None, max_body_bytes: int) -> dict[Lane, int]:
    """Return the largest number of unsettled deliveries of each lane; `configured` sets that of the live lane."""
    wanted = attempts_per_timeout(target) or 2 * concurrency_of(target)
    limit = max(2, min(QUORUM_PREFETCH_MAX, HELD_MAX_BYTES // max_body_bytes))
    live = configured or min(max(2, wanted), limit)
    side = min(live, SIDE_LANE_PREFETCH_MAX)
    return {Lane.LIVE: live, Lane.DUE: side, Lane.REPLAY: side}


def held_max_s(target: TargetSettings) -> float:
    """Return the longest time that a delivery may be unsettled: a wait, two requests, and the confirm of its copy."""
    return (
        HELD_IN_MEMORY_S + target.timeout_s + REPEAT_WAIT_MAX_S + target.timeout_s + CONFIRM_MAX_S + CRASH_PAUSE_S
    ) + HELD_SLACK_S
