"""wrk, a client that costs little: one thread that keeps many connections busy."""

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.bench.figures import MeasureError
from sandbox import system_package

SCRIPT = Path(__file__).with_name("request.lua")
STARTING_S = 30.0
ANSWER_MAX_S = 10
"""wrk's own 2 s are too few for a slow peer behind 256 connections, which is slow but not broken."""


def ensure(say: Callable[[str], None]) -> None:
    """See to it that wrk is installed.

    Raises:
        MeasureError: It is not, and cannot be.
    """
    if shutil.which("wrk") is not None:
        return
    try:
        system_package.install(system_package.WRK, say)
    except system_package.InstallError as error:
        raise MeasureError(f"wrk is needed (apt-get install wrk), and installing it failed: {error}") from error


def requests_per_s(url: str, *, body: Path, headers: Mapping[str, str], connections: int, for_s: float) -> float:
    """Load a server and return how many requests it answered with success per second.

    Raises:
        MeasureError: It refused one, or broke a connection.
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
        raise MeasureError(f"wrk against {url} did not end") from error
    except subprocess.CalledProcessError as error:
        raise MeasureError(f"wrk against {url}: {error.stderr}{error.stdout}") from error
    result = json.loads(done.stdout.splitlines()[-1])
    if result["refused"] or result["broken"]:
        raise MeasureError(f"{url}: {result['refused']} requests refused, {result['broken']} broken")
    return float(result["requests"] / result["seconds"])
