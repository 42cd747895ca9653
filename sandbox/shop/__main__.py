"""The command that runs the example deploy/examples/shop on this machine until Ctrl-C.

`make run-example` runs it. Each run begins with an empty shop, and leaves no data.
"""

import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during the imports is no traceback either

import json
import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from eventflow.cli.run_file import RunFile
from eventflow.service.program import run_program
from eventflow.settings.environment import CONFIG_VARIABLE, capitalized
from sandbox.broker.provision import DEFAULT_DIRECTORY
from sandbox.database import provision as databases
from sandbox.ports import free_port, usual_or_free_port
from sandbox.shop.database import database_of_shop
from sandbox.shop.environment import EXAMPLE, FLOW, NOTIFICATIONS_PER_S, flows_of_shop
from sandbox.up.children import COLLECTOR, CONSOLE, PROCESSOR, PROCESSOR_2, RELAY, TARGET, Children
from sandbox.up.environment import API_KEY, PROCESSOR_PORT, admin_url, describe, for_services
from sandbox.up.run import Running, Stage, ensure_broker, run, start_broker

BROKER, DATABASE = "broker", "database"
_ORDER = {"id": "order-1", "article": "lamp", "pieces": 2}


def main(
    directory: Annotated[Path, typer.Option(help="Directory for run.json.")] = (DEFAULT_DIRECTORY),
) -> None:
    """Run a shop whose handler books orders: broker, PostgreSQL, target and all services, until Ctrl-C."""
    run(
        directory,
        title="The shop is open",
        steps=(BROKER, DATABASE, TARGET, COLLECTOR, PROCESSOR, PROCESSOR_2, RELAY, CONSOLE),
        ensure=_ensure,
        start=_start,
    )


def _ensure() -> None:
    ensure_broker()
    if not os.environ.get(databases.URL_VARIABLE):
        databases.ensure()


def _start(stage: Stage) -> Running:
    steps, children, stack = stage.steps, stage.children, stage.stack
    # Not in the directory of the run: PostgreSQL, which does not run as root, must reach its data.
    data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="eventflow-shop-")))
    data.chmod(0o711)
    steps.begin(BROKER, DATABASE)
    broker = start_broker(stage, data)
    steps.end(BROKER)
    server = stack.enter_context(databases.provide(data))
    database_url = stack.enter_context(database_of_shop(server.url, EXAMPLE / "schema.sql"))
    steps.end(DATABASE)
    target_port = usual_or_free_port(8090)
    ours = {CONFIG_VARIABLE, databases.URL_VARIABLE}  # the first is another file here, the second is no setting
    user = {name: value for name, value in capitalized(os.environ).items() if name not in ours}
    flows = flows_of_shop(database_url=database_url, target_port=target_port)
    environment = for_services(user, broker, data, flows)
    another = {**environment, PROCESSOR_PORT: str(free_port())}
    here = describe(user, environment, another, broker, target_port, FLOW)
    steps.begin(TARGET)
    children.start({TARGET: ["sandbox.target", "--port", str(target_port), "--rate", "0"]}, environment)
    children.wait_until_ready(TARGET, here.audit_url)
    steps.end(TARGET)
    _start_services(stage, environment, another)
    servers = {BROKER: broker.node, DATABASE: server.server}
    commands = [_curl(here), f"psql {database_url} -c 'TABLE orders'"]
    return Running(here=here, rows=_rows(here, children), commands=commands, servers=servers)


def _start_services(stage: Stage, environment: dict[str, str], another: dict[str, str]) -> None:
    steps, children = stage.steps, stage.children
    steps.begin(COLLECTOR, PROCESSOR, PROCESSOR_2, RELAY)
    # The package of the shop is found in the working directory of a processor; elsewhere it would be installed.
    children.start({PROCESSOR: ["eventflow_processor"]}, environment, directory=EXAMPLE, replaced=True)
    children.start({PROCESSOR_2: ["eventflow_processor"]}, another, directory=EXAMPLE, replaced=True)
    children.start({COLLECTOR: ["eventflow_collector"], RELAY: ["eventflow_relay"]}, environment, replaced=True)
    for name, url in {
        COLLECTOR: admin_url(environment, "COLLECTOR"),
        PROCESSOR: admin_url(environment, "PROCESSOR"),
        PROCESSOR_2: admin_url(another, "PROCESSOR"),
        RELAY: admin_url(environment, "RELAY"),
    }.items():
        children.wait_until_ready(name, f"{url}/readyz")
        steps.end(name)
    steps.begin(CONSOLE)
    children.start({CONSOLE: ["eventflow_console"]}, environment)
    children.wait_until_ready(CONSOLE, f"{admin_url(environment, 'CONSOLE')}/readyz")
    steps.end(CONSOLE)


def _rows(here: RunFile, children: Children) -> dict[str, str]:
    pid = children.pid_of(PROCESSOR)
    return {
        "Console": f"{here.console_url}  (orders and notifications)",
        "Post orders to": here.events_url,
        "Handler": str(Path(*EXAMPLE.parts[-3:]) / "shop" / "handlers.py"),
        "Notifications": f"{here.audit_url}  (at most {NOTIFICATIONS_PER_S} per second)",
        "Operate it": "make status  (in another terminal)",
        "Try it": "make orders  (in another terminal), or the next commands",
        "Break it": f"kill -9 {pid}  (a processor; it starts again)",
        "Stop it": "Ctrl-C",
    }


def _curl(here: RunFile) -> str:
    headers = {"X-Api-Key": API_KEY, "Content-Type": "application/json"}
    options = " ".join(f"-H '{name}: {value}'" for name, value in headers.items())
    return f"curl -X POST {here.events_url} {options} -d '{json.dumps(_ORDER)}'"


if __name__ == "__main__":
    run_program(main)
