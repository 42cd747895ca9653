"""The command that runs all of Event Flow on this machine until Ctrl-C.

`make run-local` runs it. The services are configured by the environment; variables that are set keep their values.
"""

import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during the imports is no traceback either

import json
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.panel import Panel

from eventflow.cli.run_file import RUN_FILE_NAME, RunFile
from eventflow.service.program import run_program
from eventflow.settings.environment import capitalized
from sandbox.broker.provision import (
    DEFAULT_DIRECTORY,
    Broker,
    BrokerNotAvailable,
    apply_policies,
    ensure,
    provide,
    urls_in,
)
from sandbox.ports import free_port, usual_or_free_port
from sandbox.up.children import COLLECTOR, CONSOLE, PROCESSOR, PROCESSOR_2, TARGET, Children, Interruptions, RunError
from sandbox.up.environment import API_KEY, PROCESSOR_PORT, TARGET_RATE_PER_S, admin_url, describe, for_services
from sandbox.up.steps import Steps

BROKER = "broker"
_WATCH_EVERY_S = 1.0
# The target measures after the network, with its own clock, so it must accept a little more than the processors plan.
_TARGET_BURST = 15
_EXAMPLE_ID = "66d81702-77a4-4c3d-b40c-8c1d76ba3d24"
_EXAMPLE = {"id": _EXAMPLE_ID, "name": "inventory-updated", "body": '{"foo": "bar"}', "timestamp": "1752443484.573"}


def main(
    directory: Annotated[Path, typer.Option(help="Directory for the data of the broker and for run.json.")] = (
        DEFAULT_DIRECTORY
    ),
) -> None:
    """Run broker, target, collector, two processors and the console on this machine until Ctrl-C."""
    console = Console(highlight=False)
    interruptions = Interruptions()
    try:
        with ExitStack() as stack:
            try:
                _run(directory, console, interruptions, stack)
            except KeyboardInterrupt:
                console.print("Stopping. Press Ctrl-C again to stop at once.")
                raise
    except KeyboardInterrupt:
        return
    except BrokerNotAvailable as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        sys.exit(error.exit_status)
    except RunError as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        sys.exit(1)


def _run(directory: Path, console: Console, interruptions: Interruptions, stack: ExitStack) -> None:
    run_file = directory / RUN_FILE_NAME
    if (running := RunFile.read(run_file)) is not None:
        raise RunError(f"Event Flow already runs here, as process {running.pid}: {running.events_url}")
    stack.callback(lambda: console.print("Stopped."))
    if not urls_in(os.environ):
        ensure()  # before the display begins, because an installation writes to the terminal
    with Steps(console, BROKER, TARGET, COLLECTOR, PROCESSOR, PROCESSOR_2, CONSOLE) as steps:
        broker, children, here = _start(directory, console, interruptions, stack, steps)
    stack.callback(here.remove, run_file)
    here.write(run_file)
    console.print(_panel(here, broker))
    console.print(_curl(here), soft_wrap=True, markup=False)
    while True:
        time.sleep(_WATCH_EVERY_S)
        children.check()
        if broker.node is not None and not broker.node.alive:
            raise RunError("The broker has ended.")


def _start(
    directory: Path, console: Console, interruptions: Interruptions, stack: ExitStack, steps: Steps
) -> tuple[Broker, Children, RunFile]:
    """Start everything, and return when all of it is ready; the stack stops it."""
    steps.begin(BROKER)
    broker = stack.enter_context(provide(directory))
    if broker.management_url is not None and not apply_policies(broker):
        raise RunError("The broker did not accept the policies that protect the queues")
    steps.end(BROKER)
    target_port = usual_or_free_port(8090)
    user = capitalized(os.environ)
    environment = for_services(user, broker, directory, target_port)
    another = {**environment, PROCESSOR_PORT: str(free_port())}  # both processors share the target's quota
    here = describe(user, environment, another, broker, target_port)
    children = Children(console, interruptions, stack)
    steps.begin(TARGET)
    children.start({TARGET: _target_arguments(target_port)}, environment)
    children.wait_until_ready(TARGET, here.audit_url)
    steps.end(TARGET)
    steps.begin(COLLECTOR, PROCESSOR, PROCESSOR_2)
    children.start({PROCESSOR_2: ["eventflow_processor"]}, another)
    children.start({COLLECTOR: ["eventflow_collector"], PROCESSOR: ["eventflow_processor"]}, environment)
    for name, url in {
        COLLECTOR: admin_url(environment, "COLLECTOR"),
        PROCESSOR: admin_url(environment, "PROCESSOR"),
        PROCESSOR_2: admin_url(another, "PROCESSOR"),
    }.items():
        children.wait_until_ready(name, f"{url}/readyz")
        steps.end(name)
    # Not beside the others: events can already flow, and they need the processor time first.
    steps.begin(CONSOLE)
    children.start({CONSOLE: ["eventflow_console"]}, environment)
    children.wait_until_ready(CONSOLE, f"{admin_url(environment, 'CONSOLE')}/readyz")
    steps.end(CONSOLE)
    return broker, children, here


def _target_arguments(port: int) -> list[str]:
    options = {"--port": port, "--rate": TARGET_RATE_PER_S, "--burst": _TARGET_BURST}
    return ["sandbox.target", *(str(part) for option in options.items() for part in option)]


def _panel(here: RunFile, broker: Broker) -> Panel:
    rows = {
        "Console": f"{here.console_url}  (every attempt, dead letters, pause and rate)",
        "Send events to": here.events_url,
        "Target audit": f"{here.audit_url}  (limit {TARGET_RATE_PER_S} events/s)",
        "Metrics": f"\n{'':<16}".join([here.collector_metrics_url, *here.processor_metrics_urls]),
    }
    if broker.management_url is not None:
        rows["RabbitMQ UI"] = f"{broker.management_url}  (login {broker.login}, password {broker.password})"
    rows["Operate it"] = f"{_typed('eventflow')} status  (or make status; in another terminal)"
    rows["Try it"] = "make send  (in another terminal), or the next command"
    rows["Stop it"] = "Ctrl-C"
    return Panel(
        "\n".join(f"{name:<15} {value}" for name, value in rows.items()), title="Event Flow is running", expand=False
    )


def _typed(command: str) -> str:
    """Return a command of this installation as it must be typed in this directory."""
    path = Path(sys.executable).parent / command
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _curl(here: RunFile) -> str:
    key = here.api_key if here.api_key == API_KEY else "YOUR_KEY"  # a key that the user has set is not printed
    headers = {"X-Api-Key": key, "Content-Type": "application/json", "Idempotency-Key": _EXAMPLE_ID}
    options = " ".join(f"-H '{name}: {value}'" for name, value in headers.items())
    return f"curl -X POST {here.events_url} {options} -d '{json.dumps(_EXAMPLE)}'\n"


if __name__ == "__main__":
    run_program(main)
