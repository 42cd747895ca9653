"""Programs that are expected to end at once, with settings from the environment alone."""

import asyncio
import sys
from pathlib import Path

from tests.support.services import scrubbed_environment

ENDS_WITHIN_S = 20.0


async def ended(*program: str, cwd: Path, **settings: str) -> tuple[int, str]:
    """Run a program; return its exit status and all that it wrote.

    Args:
        program: Arguments of Python.
        settings: Variables without their prefix; those named `OTEL_` and those in lower case as they are.
    """
    environment = scrubbed_environment() | {
        name if name.startswith("OTEL_") or name.islower() else f"EVENTFLOW_{name}": value
        for name, value in settings.items()
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *program,
        cwd=cwd,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(ENDS_WITHIN_S):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, output.decode()
