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
    """Return how many attempts the quota starts within one attempt's deadline; None when unlimited."""
    if target.rate_per_s is None:
        return None
    return max(1, math.ceil(target.rate_per_s / target.cost * target.timeout_s))


def concurrency_of(target: TargetSettings) -> int:
    """Return how many attempts may be in flight."""
    return target.concurrency or attempts_per_timeout(target) or UNLIMITED_CONCURRENCY


def prefetch_of(target: TargetSettings, *, configured: int | None, max_body_bytes: int) -> dict[Lane, int]:
    """Return how many unsettled deliveries to hold, by lane; `configured` sets the live lane's."""
    wanted = attempts_per_timeout(target) or 2 * concurrency_of(target)
    limit = max(2, min(QUORUM_PREFETCH_MAX, HELD_MAX_BYTES // max_body_bytes))
    live = configured or min(max(2, wanted), limit)
    side = min(live, SIDE_LANE_PREFETCH_MAX)
    return {Lane.LIVE: live, Lane.DUE: side, Lane.REPLAY: side}


def held_max_s(target: TargetSettings) -> float:
    """Return how long a delivery may be unsettled at most: it waits, is sent, is sent again, and its copy waits."""
    return (
        HELD_IN_MEMORY_S + target.timeout_s + REPEAT_WAIT_MAX_S + target.timeout_s + CONFIRM_MAX_S + CRASH_PAUSE_S
    ) + HELD_SLACK_S
