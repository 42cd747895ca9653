"""CPU time for an event, and memory, of a measured program."""

from benchmarks.bench.figures import Sample
from benchmarks.cpu import Usage
from sandbox.processes import ChildProcess


class Watch:
    """Watches a program and its worker processes from its creation on."""

    def __init__(self, process: ChildProcess) -> None:
        self._process = process
        self._before = Usage.of(process.pid)

    def sample(self, figure: float, *, events: int) -> Sample:
        """Return a sample with the usage of the watched time, in which the program processed so many events."""
        before, after = self._before, Usage.of(self._process.pid)
        if before is None or after is None or events == 0:
            return Sample(figure)
        cpu_us = (after.cpu_s - before.cpu_s) / events * 1e6
        return Sample(figure, cpu_us=cpu_us, resident_mb=after.resident_bytes / 1e6)
