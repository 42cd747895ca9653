"""The command that runs a PostgreSQL.

python -m sandbox.database             runs one until Ctrl-C
python -m sandbox.database --ensure    only checks that one can be started, and installs it if needed
"""

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from eventflow.service.program import run_program
from sandbox.database.provision import DEFAULT_DIRECTORY, URL_VARIABLE, DatabaseNotAvailable, ensure, provide


def main(
    directory: Annotated[Path, typer.Option(help="Directory for the data of the server.")] = DEFAULT_DIRECTORY,
    ensure_only: Annotated[
        bool,
        typer.Option("--ensure", help="Only check that PostgreSQL can be started; install it if needed."),
    ] = False,
) -> None:
    """Run PostgreSQL until Ctrl-C."""
    try:
        if ensure_only:
            _check(directory)
        else:
            _run(directory)
    except DatabaseNotAvailable as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(str(error), style="red", markup=False)
        sys.exit(error.exit_status)


def _check(directory: Path) -> None:
    """Check that PostgreSQL can be used, without a start."""
    if os.environ.get(URL_VARIABLE):
        with provide(directory):  # raises if the named server does not answer
            return
    ensure()


def _run(directory: Path) -> None:
    console = Console(highlight=False, soft_wrap=True)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with provide(directory) as database:
        if database.server is None:
            console.print(f"PostgreSQL answers at {URL_VARIABLE}.")  # the URL holds a password, so it is not printed
        else:
            console.print(f"PostgreSQL  {database.url}")
        console.print("Press Ctrl-C to stop it.")
        stop.wait()


if __name__ == "__main__":
    run_program(main)
