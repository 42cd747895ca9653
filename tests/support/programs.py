"""Programs that are expected to end at once, with settings from the environment alone."""

import asyncio
import sys
from pathlib import Path

from tests.support.services import environment_with

ENDS_WITHIN_S = 20.0


async def ended(*program: str, cwd: Path, **settings: str) -> tuple[int, str]:
    """Run a program; return its exit status and all that it wrote.

    Args:
        program: Arguments of Python.
        settings: Those of `environment_with`.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *program,
        cwd=cwd,
        env=environment_with(settings),
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
