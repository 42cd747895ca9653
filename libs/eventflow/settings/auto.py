"""The values of the settings that are `auto`: attempts in flight and unsettled deliveries of one processor. Pure."""

import math

from eventflow.settings.fields import MIB
from eventflow.settings.target import TargetSettings
from eventflow.topology import Lane

UNLIMITED_CONCURRENCY = 64
QUORUM_PREFETCH_MAX = 2000
HELD_MAX_BYTES = 64 * MIB
SIDE_LANE_PREFETCH_MAX = 100


def attempts_per_timeout(target: TargetSettings) -> int | None:
    """Return the number of attempts that the quota allows within the deadline of one; None if it is unlimited."""
    if target.rate_per_s is None:
        return None
    return max(1, math.ceil(target.rate_per_s / target.cost * target.timeout_s))


def concurrency_of(target: TargetSettings) -> int:
    """Return the largest number of attempts in flight."""
    return target.concurrency or attempts_per_timeout(target) or UNLIMITED_CONCURRENCY


def held_max(max_body_bytes: int) -> int:
    """Return the largest `auto` number of unsettled live deliveries, for bodies of at most this size."""
    return max(2, min(QUORUM_PREFETCH_MAX, HELD_MAX_BYTES // max_body_bytes))


def prefetch_of(target: TargetSettings, *, configured: int | None, max_body_bytes: int) -> dict[Lane, int]:
    """Return the largest number of unsettled deliveries of each lane; `configured` sets that of the live lane."""
    wanted = attempts_per_timeout(target) or 2 * concurrency_of(target)
    live = configured or min(max(2, wanted), held_max(max_body_bytes))
    side = min(live, SIDE_LANE_PREFETCH_MAX)
    return {Lane.LIVE: live, Lane.DUE: side, Lane.REPLAY: side}
