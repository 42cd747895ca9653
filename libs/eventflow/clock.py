"""The clock of leases, which continues while the machine is suspended."""

import time

_CLOCK_ID: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""On Linux, CLOCK_MONOTONIC stops during a suspend, and `time.monotonic` and asyncio read that clock. Other systems
have no CLOCK_BOOTTIME; the CLOCK_MONOTONIC of macOS does not stop."""


def lease_clock() -> float:
    """Return seconds of a clock that includes suspends, so that no lease outlasts one."""
    return time.clock_gettime(_CLOCK_ID)
