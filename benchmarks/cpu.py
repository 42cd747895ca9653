"""How much of the machine is used. It is known on Linux only, where /proc tells it."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CORES = os.cpu_count() or 1
FULL_SHARE = 0.93
"""Of the machine, or of one core by one process: what is short of it could have done more."""

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What was used of the machine during a time, in cores.

    Attributes:
        own: By the processes that were watched.
        busiest: By the busiest of them; one of Python uses hardly more than one.
        machine: By everything that ran.
    """

    own: float
    busiest: float
    machine: float

    @property
    def is_full(self) -> bool:
        """Whether no more could have been done."""
        return self.machine >= FULL_SHARE * CORES or self.busiest >= FULL_SHARE


class Meter:
    """Watches processes from its making on."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._started_s = time.monotonic()
        self._before = _seconds_used(pids)

    def load(self) -> Load | None:
        """Return the load since the start; None where it is not known."""
        after, wall_s = _seconds_used(self._pids), time.monotonic() - self._started_s
        if self._before is None or after is None:
            return None
        machine, *own = ((end - start) / wall_s for start, end in zip(self._before, after, strict=True))
        return Load(own=sum(own), busiest=max(own), machine=machine)


def _seconds_used(pids: Sequence[int]) -> list[float] | None:
    """Return the processor time that the machine has used, and each of the processes."""
    try:
        return [_of_machine(), *(_of_process(pid) for pid in pids)]
    except OSError:
        return None


def _of_machine() -> float:
    user, nice, system, _idle, _io_wait, *interrupts = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    return sum(map(int, (user, nice, system, *interrupts))) / _TICKS_PER_S


def _of_process(pid: int) -> float:
    # The name before the last bracket may hold anything; user and system time are the 14th and 15th field of all.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
