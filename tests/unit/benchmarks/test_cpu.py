"""CPU time and memory of programs."""

import os
import subprocess
import sys

import pytest

from benchmarks.cpu import Usage

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="known on Linux only")

_SPINS = "import os, time; print(flush=True); [None for _ in iter(lambda: time.process_time() < 0.2, False)]; input()"


def test_usage_of_a_program_includes_its_worker_processes() -> None:
    starts_two = (
        f"import subprocess, sys; [subprocess.Popen([sys.executable, '-c', {_SPINS!r}]) for _ in '12']; input()"
    )
    leader = subprocess.Popen([sys.executable, "-c", starts_two], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert leader.stdout is not None
        for _ in "12":
            leader.stdout.readline()
        while (usage := Usage.of(leader.pid)) is not None and usage.cpu_s < 0.4:
            os.sched_yield()
    finally:
        leader.communicate()
    assert usage is not None
    assert usage.resident_bytes > 3 * 2**20


def test_usage_of_an_ended_program_is_unknown() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert Usage.of(ended.pid) is None
