"""The clock that stands still with the machine."""

import signal
import subprocess
import sys
import time

STOPPED_S = 1.5
MEASURES = """
import sys, time
from tests.support.running_time import running_s

began_s, began_running_s = time.monotonic(), running_s()
print("begun", flush=True)
sys.stdin.readline()
print(time.monotonic() - began_s, running_s() - began_running_s)
"""


def test_time_in_which_nothing_runs_does_not_count_and_all_other_time_does() -> None:
    command = [sys.executable, "-c", MEASURES]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGSTOP)
        time.sleep(STOPPED_S)
        process.send_signal(signal.SIGCONT)
        time.sleep(STOPPED_S)
        process.stdin.write("\n")
        process.stdin.flush()
        passed_s, running_s = map(float, process.stdout.readline().split())
    assert passed_s - running_s > STOPPED_S - 0.2
    assert running_s > 0
