"""Containers of the sandbox, by the command `docker`."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from sandbox.processes import wait_until

STARTER_LABEL = "eventflow.starter"
"""Label of a container. Its value is the process id of the command that started the container."""

_QUICK_S = 30.0
_PULL_S = 600.0


def run(*arguments: str | Path, timeout_s: float = _QUICK_S) -> subprocess.CompletedProcess[str]:
    """Run a command of Docker; one that cannot run, or runs too long, has failed."""
    command = ["docker", *map(str, arguments)]
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
            start_new_session=True,  # Ctrl-C must reach only the sandbox, which stops the container in its turn
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, returncode=1, stdout="", stderr=str(error))


def engine_answers() -> bool:
    """Return whether a Docker engine answers that this user may use."""
    return shutil.which("docker") is not None and run("version", "--format", "{{.Server.Version}}").returncode == 0


def image_available(image: str) -> bool:
    """Return whether the engine has the image or can pull it now."""
    if run("image", "inspect", "--format", "{{.Id}}", image).returncode == 0:
        return True
    return run("pull", "--quiet", image, timeout_s=_PULL_S).returncode == 0


def start(
    name: str,
    *arguments: str,
    is_ready: Callable[[], bool],
    what: str,
    timeout_s: float,
    error: type[Exception],
) -> None:
    """Start a container of this process, and wait until it is ready. Nothing of it is left if that fails.

    Args:
        arguments: Options of `docker run`, the image, and its arguments.
        what: What is waited for, for the error.
        error: Type of the error.

    Raises:
        error: It did not become ready; the text ends with its last output.
    """
    remove_orphans()
    own = ("--detach", "--rm", "--name", name, "--label", f"{STARTER_LABEL}={os.getpid()}")
    try:
        started = run("run", *own, *arguments)
        wait_until(lambda: is_ready() or not is_running(name), timeout_s=timeout_s, what=what)
    except TimeoutError as late:
        output = last_output(name)
        remove(name)
        raise error(f"{late}\n{output}") from late
    except BaseException:
        remove(name)
        raise
    if not is_running(name):
        raise error(f"the container for {what} did not start: {started.stderr.strip() or 'it has ended'}")


def is_running(name: str) -> bool:
    """Return whether a container runs."""
    inspected = run("inspect", "--format", "{{.State.Running}}", name)
    return inspected.returncode == 0 and inspected.stdout.strip() == "true"


def remove(name: str) -> None:
    """End a container, and delete its data."""
    run("rm", "--force", "--volumes", name)


def last_output(name: str) -> str:
    """Return the last lines of a container."""
    logs = run("logs", "--tail", "15", name)
    return f"{logs.stdout}{logs.stderr}"


def remove_orphans() -> None:
    """Remove containers that outlived their starter because it was killed."""
    line = f'{{{{.ID}}}} {{{{.Label "{STARTER_LABEL}"}}}}'
    listed = run("ps", "--filter", f"label={STARTER_LABEL}", "--format", line)
    for identifier, starter in (entry.split() for entry in listed.stdout.splitlines()):
        try:
            os.kill(int(starter), 0)
        except ProcessLookupError:
            remove(identifier)
        except PermissionError:
            continue  # the starter runs, under another user
