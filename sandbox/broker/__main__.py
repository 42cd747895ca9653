"""The command that runs a RabbitMQ.

python -m sandbox.broker             runs one until Ctrl-C
python -m sandbox.broker --ensure    only checks that one can be started, and installs it if needed
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
from sandbox.broker.provision import DEFAULT_DIRECTORY, URL_VARIABLE, BrokerNotAvailable, ensure, provide, urls_in


def main(
    directory: Annotated[Path, typer.Option(help="Directory for the data, logs and configuration of the node.")] = (
        DEFAULT_DIRECTORY
    ),
    ensure_only: Annotated[
        bool,
        typer.Option("--ensure", help="Only check that RabbitMQ can be started; install it if needed."),
    ] = False,
) -> None:
    """Run RabbitMQ until Ctrl-C."""
    try:
        if ensure_only:
            _check(directory)
        else:
            _run(directory)
    except BrokerNotAvailable as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(str(error), style="red", markup=False)
        sys.exit(error.exit_status)


def _check(directory: Path) -> None:
    """Check that RabbitMQ can be used, without a start, which would take seconds."""
    if urls_in(os.environ):
        with provide(directory):  # raises if the named broker does not answer
            return
    ensure()


def _run(directory: Path) -> None:
    console = Console(highlight=False, soft_wrap=True)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with provide(directory) as broker:
        if broker.node is None:
            console.print(f"RabbitMQ answers at {URL_VARIABLE}.")  # the URL holds a password, so it is not printed
        else:
            console.print(f"AMQP        {broker.url}")
            console.print(f"Management  {broker.management_url}  (login {broker.login}, password {broker.password})")
        console.print("Press Ctrl-C to stop it.")
        stop.wait()


if __name__ == "__main__":
    run_program(main)
