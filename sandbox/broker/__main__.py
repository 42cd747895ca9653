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

from sandbox.broker.provision import DEFAULT_DIRECTORY, URL_VARIABLE, BrokerNotAvailable, ensure, provide, urls_in


def main(
    directory: Annotated[Path, typer.Option(help="Where the node keeps data, logs and configuration.")] = (
        DEFAULT_DIRECTORY
    ),
    ensure_only: Annotated[
        bool,
        typer.Option("--ensure", help="Only see to it that a RabbitMQ can be had (installs it if needed)."),
    ] = False,
) -> None:
    """Run a RabbitMQ until Ctrl-C."""
    console = Console(highlight=False, soft_wrap=True)
    try:
        if ensure_only:
            if not urls_in(os.environ):
                ensure()
                return
            with provide(directory):
                return
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        with provide(directory) as broker:
            if broker.node is None:
                console.print(f"RabbitMQ answers where {URL_VARIABLE} names it.")  # its password is not for the screen
            else:
                console.print(f"AMQP        {broker.url}")
                console.print(
                    f"Management  {broker.management_url}  (login {broker.login}, password {broker.password})"
                )
            console.print("Ctrl-C stops it.")
            stop.wait()
    except BrokerNotAvailable as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(str(error), style="red", markup=False)
        sys.exit(error.exit_status)


if __name__ == "__main__":
    typer.run(main)
