"""The clock that stands still with the machine."""

import signal
import subprocess
import sys
import time

STOPPED_S, RUNS_S = 1.5, 1.0
MEASURES = f"""
import time
from tests.support.running_time import running_s

began_s, began_running_s = time.monotonic(), running_s()
print("begun", flush=True)
while running_s() - began_running_s < {RUNS_S}:
    time.sleep(0.01)
print(time.monotonic() - began_s)
"""


def test_time_in_which_nothing_runs_does_not_count_and_all_other_time_does() -> None:
    with subprocess.Popen([sys.executable, "-c", MEASURES], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGSTOP)
        time.sleep(STOPPED_S)
        process.send_signal(signal.SIGCONT)
        passed_s = float(process.stdout.readline())  # it comes only if the other time counts
    assert passed_s > STOPPED_S + RUNS_S - 0.2
