"""SIGTERM in the first moments of the first process of a container is not lost.

Reproduced on 0.1.0: in the 0.4 s of its imports a service with the process id 1 had no handler, so the kernel dropped
the signal; the container ran on until it was killed.
"""

import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox.ports import free_port
from sandbox.processes import wait_until
from tests.support.means import cannot
from tests.support.running_time import running_s
from tests.support.services import scrubbed_environment

UNSHARE = shutil.which("unshare")

SETTINGS = {
    "EVENTFLOW_SOURCE__ALLOW_UNAUTHENTICATED": "true",
    "EVENTFLOW_TARGET__URL": "http://127.0.0.1:9/",
}

MODULES = {
    "collector": ("eventflow_collector",),
    "workers": ("eventflow_collector",),
    "processor": ("eventflow_processor",),
    "console": ("eventflow_console",),
    "status": ("eventflow.cli", "status", "--watch"),
}


@contextmanager
def silent_broker() -> Iterator[str]:
    """Accept connections and never answer, which keeps every program waiting; yields its URL."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"amqp://127.0.0.1:{server.getsockname()[1]}/"


@contextmanager
def first_process(arguments: Sequence[str], environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen, int]]:
    """Start a program with the process id 1 of a namespace; yields `unshare`, which ends as it does, and its id."""
    if UNSHARE is None:
        cannot("no unshare(1), for a process with the id 1")
    command = [UNSHARE, "--pid", "--fork", "--kill-child", sys.executable, "-m", *arguments]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as unshare:
        try:
            children = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children")
            wait_until(
                lambda: unshare.poll() is not None or bool(children.read_text()), timeout_s=30, what="the program"
            )
            if unshare.poll() is not None:
                cannot(f"no process with the id 1: {unshare.stdout.read()!r}")
            yield unshare, int(children.read_text())
        finally:
            unshare.kill()


def is_importing(pid: int) -> bool:
    """Whether a Python has run far enough to load a library that our services import early."""
    return "_asyncio." in Path(f"/proc/{pid}/maps").read_text()


@pytest.mark.parametrize("program", MODULES)
@pytest.mark.parametrize("moment", ["while it imports", "a second later"])
def test_sigterm_ends_the_first_process_of_a_container_at_once(program: str, moment: str) -> None:
    environment = scrubbed_environment() | SETTINGS
    for role in ("COLLECTOR", "PROCESSOR", "CONSOLE"):
        environment[f"EVENTFLOW_{role}__ADMIN_PORT"] = str(free_port())
    for role in ("COLLECTOR", "CONSOLE"):
        environment[f"EVENTFLOW_{role}__PORT"] = str(free_port())
    environment["EVENTFLOW_COLLECTOR__WORKERS"] = "2" if program == "workers" else "1"
    with (
        silent_broker() as environment["EVENTFLOW_BROKER__URL"],
        first_process(MODULES[program], environment) as started,
    ):
        unshare, pid = started
        wait_until(lambda: is_importing(pid), timeout_s=30, what="its imports")
        if moment == "a second later":
            time.sleep(1)  # whatever it does then
        subprocess.run(["kill", "-TERM", str(pid)], check=True)
        began_s = running_s()
        status = unshare.wait(60)
        assert running_s() - began_s < 10
    assert status in {0, 128 + signal.SIGTERM}
