"""The command that runs all of Event Flow on this machine until Ctrl-C.

`make run-local` runs it. The services are configured by the environment; variables that are set keep their values.
"""

import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during the imports is no traceback either

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from eventflow.cli.run_file import RunFile
from eventflow.service.program import run_program
from eventflow.settings.environment import capitalized
from sandbox.broker.provision import DEFAULT_DIRECTORY, Broker
from sandbox.ports import free_port, usual_or_free_port
from sandbox.up.children import COLLECTOR, CONSOLE, PROCESSOR, PROCESSOR_2, TARGET
from sandbox.up.environment import (
    API_KEY,
    PROCESSOR_PORT,
    TARGET_RATE_PER_S,
    admin_url,
    describe,
    for_services,
    of_target,
)
from sandbox.up.run import Running, Stage, ensure_broker, run, start_broker, typed

BROKER = "broker"
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
    run(
        directory,
        title="Event Flow is running",
        steps=(BROKER, TARGET, COLLECTOR, PROCESSOR, PROCESSOR_2, CONSOLE),
        ensure=ensure_broker,
        start=_start,
    )


def _start(stage: Stage) -> Running:
    steps, children = stage.steps, stage.children
    steps.begin(BROKER)
    broker = start_broker(stage, stage.directory)
    steps.end(BROKER)
    target_port = usual_or_free_port(8090)
    user = capitalized(os.environ)
    environment = for_services(user, broker, stage.directory, of_target(target_port))
    another = {**environment, PROCESSOR_PORT: str(free_port())}  # both processors share the target's quota
    here = describe(user, environment, another, broker, target_port)
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
    return Running(here=here, rows=_rows(here, broker), commands=[_curl(here)], servers={BROKER: broker.node})


def _target_arguments(port: int) -> list[str]:
    options = {"--port": port, "--rate": TARGET_RATE_PER_S, "--burst": _TARGET_BURST}
    return ["sandbox.target", *(str(part) for option in options.items() for part in option)]


def _rows(here: RunFile, broker: Broker) -> dict[str, str]:
    rows = {
        "Console": f"{here.console_url}  (every attempt, dead letters, pause and rate)",
        "Send events to": here.events_url,
        "Target audit": f"{here.audit_url}  (limit {TARGET_RATE_PER_S} events/s)",
        "Metrics": f"\n{'':<16}".join([here.collector_metrics_url, *here.processor_metrics_urls]),
    }
    if broker.management_url is not None:
        rows["RabbitMQ UI"] = f"{broker.management_url}  (login {broker.login}, password {broker.password})"
    rows["Operate it"] = f"{typed('eventflow')} status  (or make status; in another terminal)"
    rows["Try it"] = "make send  (in another terminal), or the next command"
    rows["Stop it"] = "Ctrl-C"
    return rows


def _curl(here: RunFile) -> str:
    key = here.api_key if here.api_key == API_KEY else "YOUR_KEY"  # a key that the user has set is not printed
    headers = {"X-Api-Key": key, "Content-Type": "application/json", "Idempotency-Key": _EXAMPLE_ID}
    options = " ".join(f"-H '{name}: {value}'" for name, value in headers.items())
    return f"curl -X POST {here.events_url} {options} -d '{json.dumps(_EXAMPLE)}'"


if __name__ == "__main__":
    run_program(main)
