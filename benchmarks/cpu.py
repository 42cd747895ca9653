"""CPU time and memory of the machine and of single programs. Known on Linux only, from /proc and its clocks."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

CORES = os.cpu_count() or 1
FULL_SHARE = 0.93
"""Share of the machine, or of one core for one process, from which on it counts as full."""

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_SCHEDULED = 2
"""Linux's number for the clock that counts the CPU time of all threads of a process, ended ones too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Used cores during a time.

    Attributes:
        own: Cores used by the watched processes.
        busiest: Cores used by the busiest of them; a Python process uses hardly more than one.
        machine: Cores used by all processes.
    """

    own: float
    busiest: float
    machine: float

    @property
    def is_full(self) -> bool:
        """Whether the machine or the busiest process was at its limit."""
        return self.machine >= FULL_SHARE * CORES or self.busiest >= FULL_SHARE


class Meter:
    """Measures the load of processes since its creation."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._started_s = time.monotonic()
        self._before = _seconds_used(pids)

    def load(self) -> Load | None:
        """Return the load since the creation; None if it is unknown."""
        after, wall_s = _seconds_used(self._pids), time.monotonic() - self._started_s
        if self._before is None or after is None:
            return None
        machine, *own = ((end - start) / wall_s for start, end in zip(self._before, after, strict=True))
        return Load(own=sum(own), busiest=max(own), machine=machine)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """CPU time and resident memory of a program up to now, with its worker processes."""

    cpu_s: float
    resident_bytes: int

    @classmethod
    def of(cls, pid: int) -> "Usage | None":
        """Return the usage of a process and all its descendants; None if it is unknown."""
        try:
            pids = list(_with_descendants(pid))
            return cls(cpu_s=sum(map(_of_process, pids)), resident_bytes=sum(map(_resident_bytes, pids)))
        except OSError:
            return None


def _with_descendants(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from _with_descendants(int(child))


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES


def _seconds_used(pids: Sequence[int]) -> list[float] | None:
    """Return the CPU time of the machine, and of each process; None if it is unknown."""
    try:
        return [_of_machine(), *(_of_process(pid) for pid in pids)]
    except OSError:
        return None


def _of_machine() -> float:
    user, nice, system, _idle, _io_wait, *interrupts = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    return sum(map(int, (user, nice, system, *interrupts))) / _TICKS_PER_S


def _of_process(pid: int) -> float:
    # As `clock_getcpuclockid` does, which Python lacks: Linux derives the number of the clock from the process id.
    return time.clock_gettime(~pid << 3 | _SCHEDULED)
