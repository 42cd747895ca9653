"""wrk, an HTTP client that costs little: one thread that keeps many connections busy."""

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench.figures import MeasureError
from sandbox import system_package

SCRIPT = Path(__file__).with_name("request.lua")
STARTING_S = 30.0
ANSWER_MAX_S = 10
"""The default of wrk is 2 s: too short for a peer that is slow, but not broken, behind 256 connections."""


def ensure(notify: Callable[[str], None]) -> None:
    """Install wrk if needed, after a notice.

    Raises:
        MeasureError: wrk could not be installed.
    """
    if shutil.which("wrk") is not None:
        return
    try:
        system_package.install(system_package.WRK, notify)
    except system_package.InstallError as error:
        raise MeasureError(f"wrk is needed (apt-get install wrk), but its installation failed: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """Successful answers in a time."""

    requests: int
    seconds: float

    @property
    def per_s(self) -> float:
        """Answers per second."""
        return self.requests / self.seconds


def load(url: str, *, body: Path, headers: Mapping[str, str], connections: int, for_s: float) -> Answered:
    """Load a server and return its successful answers.

    Raises:
        MeasureError: The server refused a request or broke a connection.
    """
    command = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{for_s:g}s"]
    command += ["--timeout", f"{ANSWER_MAX_S}s"]
    lines = [f"{name}: {value}" for name, value in headers.items()]
    try:
        done = subprocess.run(
            [*command, "--script", SCRIPT, url, "--", body, *lines],
            capture_output=True,
            text=True,
            check=True,
            timeout=for_s + STARTING_S,
        )
    except subprocess.TimeoutExpired as error:
        raise MeasureError(f"wrk against {url} did not end in time") from error
    except subprocess.CalledProcessError as error:
        raise MeasureError(f"wrk against {url}: {error.stderr}{error.stdout}") from error
    result = json.loads(done.stdout.splitlines()[-1])
    if result["refused"] or result["broken"]:
        raise MeasureError(f"{url}: {result['refused']} requests refused, {result['broken']} broken")
    return Answered(requests=result["requests"], seconds=result["seconds"])
