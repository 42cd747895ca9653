"""Figures of the deliveries against a quota. Pure."""

from collections.abc import Iterator, Sequence

from benchmarks.rate_audit.figures import between

GAP = 0.9
"""Share of the quota: a second with less is a gap."""


def quota_used(arrivals_s: Sequence[float], *, from_s: float, until_s: float, per_s: float) -> float:
    """Return the share of a quota that was used within a time."""
    return len(between(arrivals_s, from_s, until_s)) / (per_s * (until_s - from_s))


def above_quota(arrivals_s: Sequence[float], *, per_s: float) -> float:
    """Return the largest number of requests above the quota in any time: the top level of a bucket that leaks it."""
    level = highest = 0.0
    last_s = arrivals_s[0] if arrivals_s else 0.0
    for at_s in arrivals_s:
        level = max(0.0, level - (at_s - last_s) * per_s) + 1
        highest, last_s = max(highest, level), at_s
    return highest


def gaps(arrivals_s: Sequence[float], *, from_s: float, until_s: float, per_s: float) -> Iterator[tuple[float, float]]:
    """Yield the start of each second with less than `GAP` of the quota, and the share of it that was used."""
    for second in range(int(until_s - from_s)):
        start_s = from_s + second
        used = quota_used(arrivals_s, from_s=start_s, until_s=start_s + 1, per_s=per_s)
        if used < GAP:
            yield start_s, used
