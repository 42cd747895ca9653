"""`make run-local` and `make send` in a terminal, as their commands, and the end by Ctrl-C."""

import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

from eventflow.cli.run_file import DEFAULT_PATH, RunFile
from sandbox.broker.node import PrivateNode
from sandbox.processes import scrubbed_environment
from tests.support.terminal import CTRL_C, Terminal


def test_a_run_shows_its_steps_explains_its_peak_and_ends_cleanly_at_ctrl_c(node: PrivateNode, tmp_path: Path) -> None:
    state = {"XDG_STATE_HOME": str(tmp_path / "state")}
    run = Terminal(sys.executable, "-m", "sandbox.up", cwd=tmp_path, EVENTFLOW_BROKER__URL=node.url, **state)
    run.wait_for("curl -X POST")
    for step in ("broker", "target", "collector", "processor", "processor 2", "console"):
        assert f"✓ {step}: ready after" in run.text
    panel = run.text[run.text.index("Event Flow is running") :]
    assert panel.index("Console") < panel.index("Send events to"), "a person opens this address first"
    run_file = RunFile.read(tmp_path / DEFAULT_PATH)
    assert run_file is not None
    assert run_file.console_url in panel
    with urlopen(run_file.console_url) as page:
        assert page.status == 200
    assert "-H 'Idempotency-Key: 66d81702-77a4-4c3d-b40c-8c1d76ba3d24'" in run.text
    sent = subprocess.run(
        [sys.executable, "-m", "sandbox.source", "--local", "--count", "100"],
        capture_output=True,
        check=True,
        cwd=tmp_path,
        env=scrubbed_environment() | state,
        text=True,
        timeout=60,
    )
    assert "100 of 100" in sent.stdout
    assert "(50/s and a burst of 10 allow 60)" in sent.stdout
    run.type(CTRL_C)
    assert run.end() == 0
    assert "Traceback" not in run.text
    assert run.text.rstrip().endswith("Stopped.")
