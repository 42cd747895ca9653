"""Children of the sandbox: real small processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.processes import ChildProcess, wait_until

STUBBORN = "trap '' TERM; echo up; while :; do sleep 0.05; done"


def gone(pid: int) -> bool:
    """Say whether a process has ended: it is not there, or waits for nothing but to be reaped."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return not state.strip() or state.startswith("Z")


def wait_for_line(child: ChildProcess, line: str) -> None:
    wait_until(lambda: line in child.tail(), timeout_s=30, what=f"{line!r} from {child.name}")


def test_lines_are_told_without_their_ends_and_kept() -> None:
    told: list[str] = []
    child = ChildProcess("talker", ["sh", "-c", "echo one; echo two >&2"], on_line=told.append)
    child.start()
    assert child.wait(30) == 0
    assert told == child.tail() == ["one", "two"]


def test_what_heeds_sigterm_is_not_killed() -> None:
    child = ChildProcess("polite", ["sh", "-c", "trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done"])
    with child:
        wait_for_line(child, "up")
        assert child.stop(30) == 7
    assert not child.alive


def test_what_ignores_sigterm_is_killed_after_the_deadline() -> None:
    with ChildProcess("stubborn", ["sh", "-c", STUBBORN]) as child:
        wait_for_line(child, "up")
        assert child.stop(0.2) == -signal.SIGKILL


def test_kill_ends_the_whole_group_and_it_can_be_started_again() -> None:
    with ChildProcess("family", ["sh", "-c", "sleep 60 & echo $!; wait"]) as child:
        wait_until(lambda: bool(child.tail()), timeout_s=30, what="the grandchild's pid")
        grandchild = int(child.tail()[0])
        assert child.kill() == -signal.SIGKILL
        wait_until(lambda: gone(grandchild), timeout_s=30, what="the grandchild's end")
        child.start()
        assert child.alive


def test_a_child_does_not_outlive_its_starter_killed_by_sigkill(tmp_path: Path) -> None:
    script = tmp_path / "starter.py"
    script.write_text(
        "import time\nfrom sandbox.processes import ChildProcess\n"
        "child = ChildProcess('c', ['sleep', '60'])\nchild.start()\nprint(child.pid, flush=True)\ntime.sleep(60)\n"
    )
    root = Path(__file__).parents[3]
    starter = ChildProcess("starter", [sys.executable, script], env={**os.environ, "PYTHONPATH": str(root)})
    with starter:
        wait_until(lambda: bool(starter.tail()), timeout_s=30, what="the child's pid")
        pid = int(starter.tail()[0])
        os.kill(starter.pid, signal.SIGKILL)
        wait_until(lambda: gone(pid), timeout_s=30, what="the child's end")


def test_a_condition_that_never_holds_ends_with_its_name() -> None:
    with pytest.raises(TimeoutError, match="a miracle"):
        wait_until(lambda: False, timeout_s=0.1, what="a miracle")
