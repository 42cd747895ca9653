"""Programs that are expected to end at once, with settings from the environment alone."""

import asyncio
import sys
from pathlib import Path

from sandbox.processes import ChildProcess
from tests.support.preloaded import PreloadedProcess
from tests.support.services import environment_with

ENDS_WITHIN_S = 60.0


async def ended(*program: str, cwd: Path, **settings: str) -> tuple[int, str]:
    """Run a program; return its exit status and all that it wrote.

    Args:
        program: Arguments of Python; a module of ours is forked from a preloaded process.
        cwd: Working directory.
        settings: Those of `environment_with`.
    """
    first, *others = program
    kind = PreloadedProcess if first == "-m" else ChildProcess
    output: list[str] = []
    process = kind(
        program[1], [sys.executable, first, *others], env=environment_with(settings), on_line=output.append, cwd=cwd
    )
    process.start()
    try:
        status = await asyncio.to_thread(process.wait, ENDS_WITHIN_S)
    finally:
        process.kill()
    assert status is not None, f"it still runs after {ENDS_WITHIN_S:g} s"
    return status, "".join(f"{line}\n" for line in output)
