"""All of Event Flow on one machine: broker, target, collector and a processor, until Ctrl-C.

`make run-local` runs it. The services are configured by the environment; what it sets already stays as it is.
"""

import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from eventflow.settings.environment import capitalized
from eventflow.settings.secret_text import secrets_in
from sandbox.broker import probes
from sandbox.broker.provision import (
    DEFAULT_DIRECTORY,
    URL_VARIABLE,
    Broker,
    BrokerNotAvailable,
    apply_policies,
    provide,
)
from sandbox.ports import LOOPBACK, free_port, usual_or_free_port
from sandbox.processes import ChildProcess, wait_until
from sandbox.run_file import RUN_FILE_NAME, RunFile

_READY_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 20.0  # above the processor's drain deadline
_WATCH_EVERY_S = 1.0
_API_KEY = "local-dev-key"
_PROCESSOR_PORT = "EVENTFLOW_PROCESSOR__ADMIN_PORT"
_TARGET_RATE_PER_S = 50
_PROCESSOR_BURST = 10
# The target counts at its own clock, behind a network: it grants a little more than the processor means to use.
_TARGET_BURST = 15
_COLOURS = {"target": "magenta", "collector": "cyan", "processor": "green", "processor 2": "bright_green"}
_EXAMPLE = """\
{"id":"66d81702-5f0c-4b5e-9a51-0c1f0f9f3b57","name":"inventory-updated","body":"{\\"foo\\": \\"bar\\"}",\
"timestamp":"1752443484.573"}"""

Environment = Mapping[str, str]


class RunError(Exception):
    """It cannot start or go on; the text says why."""


class Interruptions:
    """Ctrl-C and SIGTERM: the first ends the run, the second hurries its end, further ones change nothing."""

    def __init__(self) -> None:
        self.count = 0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._interrupt)

    @property
    def hurried(self) -> bool:
        """Whether a second signal asked to skip the graceful stop."""
        return self.count > 1

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
        if self.count <= 2:
            raise KeyboardInterrupt


class Children:
    """Starts programs, tells their output line by line, and stops them in groups, the last group first."""

    def __init__(self, console: Console, interruptions: Interruptions, stack: ExitStack) -> None:
        self._console = console
        self._interruptions = interruptions
        self._stack = stack
        self._children: list[ChildProcess] = []

    def start(self, modules: Mapping[str, list[str]], environment: Environment) -> None:
        """Start one group: for each name a module with its arguments."""
        group = [self._child(name, arguments, environment) for name, arguments in modules.items()]
        self._stack.callback(self._stop, group)
        for child in group:
            child.start()
        self._children += group

    def wait_until_ready(self, name: str, url: str) -> None:
        """Wait until a child answers 200 there.

        Raises:
            RunError: It ended, or was not ready in time.
        """
        child = next(child for child in self._children if child.name == name)
        try:
            wait_until(
                lambda: probes.answers_ok(url) or not child.alive, timeout_s=_READY_TIMEOUT_S, what=f"{name} at {url}"
            )
        except TimeoutError as error:
            raise RunError(_last_words(child, str(error))) from error
        self.check()

    def check(self) -> None:
        """See that all of them run.

        Raises:
            RunError: One does not.
        """
        for child in self._children:
            if not child.alive:
                raise RunError(_last_words(child, f"{child.name} ended with status {child.returncode}"))

    def _child(self, name: str, arguments: list[str], environment: Environment) -> ChildProcess:
        prefix = Text(f"{name:>11} │ ", style=_COLOURS[name])

        def tell(line: str) -> None:
            self._console.print(prefix + Text.from_ansi(line), soft_wrap=True)

        return ChildProcess(name, [sys.executable, "-m", *arguments], env=environment, on_line=tell)

    def _stop(self, group: list[ChildProcess]) -> None:
        """Ask all of a group to end, then see to it one after the other."""
        for child in group:
            if child.alive:
                child.signal(signal.SIGTERM)
        for child in reversed(group):
            try:
                child.stop(0.0 if self._interruptions.hurried else _STOP_TIMEOUT_S)
            except KeyboardInterrupt:
                child.kill()


def main(
    directory: Annotated[Path, typer.Option(help="Where the broker keeps its data, and run.json stands.")] = (
        DEFAULT_DIRECTORY
    ),
) -> None:
    """Run broker, target, collector and two processors on this machine until Ctrl-C."""
    console = Console(highlight=False)
    interruptions = Interruptions()
    try:
        with ExitStack() as stack:
            try:
                _run(directory, console, interruptions, stack)
            except KeyboardInterrupt:
                console.print("Stopping (Ctrl-C again to hurry) ...")
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
        raise RunError(f"It runs here already, as process {running.pid}: {running.events_url}")
    stack.callback(lambda: console.print("Stopped."))
    console.print("Starting a broker, the target, the collector and two processors ...")
    broker = stack.enter_context(provide(directory))
    if broker.management_url is not None and not apply_policies(broker):
        raise RunError("the broker did not take the policies that protect the queues")
    target_port = usual_or_free_port(8090)
    environment = _environment(capitalized(os.environ), broker, directory, target_port)
    another = {**environment, _PROCESSOR_PORT: str(free_port())}  # they share the target's quota
    here = _describe(environment, another, broker, target_port)
    children = Children(console, interruptions, stack)
    children.start({"target": _target_arguments(target_port)}, environment)
    children.wait_until_ready("target", here.audit_url)
    children.start({"processor 2": ["eventflow_processor"]}, another)
    children.start({"collector": ["eventflow_collector"], "processor": ["eventflow_processor"]}, environment)
    children.wait_until_ready("collector", f"{_admin_url(environment, 'COLLECTOR')}/readyz")
    children.wait_until_ready("processor", f"{_admin_url(environment, 'PROCESSOR')}/readyz")
    children.wait_until_ready("processor 2", f"{_admin_url(another, 'PROCESSOR')}/readyz")
    stack.callback(here.remove, run_file)
    here.write(run_file)
    console.print(_panel(here, broker))
    console.print(_curl(here), soft_wrap=True, markup=False)
    while True:
        time.sleep(_WATCH_EVERY_S)
        children.check()
        if broker.node is not None and not broker.node.alive:
            raise RunError("the broker ended")


def _target_arguments(port: int) -> list[str]:
    options = {"--port": port, "--rate": _TARGET_RATE_PER_S, "--burst": _TARGET_BURST}
    return ["sandbox.target", *(str(part) for option in options.items() for part in option)]


def _environment(user: Environment, broker: Broker, directory: Path, target_port: int) -> dict[str, str]:
    """Return the children's environment: the user's own, and what it leaves open."""
    chosen = {
        URL_VARIABLE: broker.url,
        "EVENTFLOW_COLLECTOR__SPOOL_DIR": str(directory.absolute() / "spool"),
        "EVENTFLOW_SOURCE__API_KEYS": _API_KEY,
        "EVENTFLOW_TARGET__URL": f"http://{LOOPBACK}:{target_port}/",
        "EVENTFLOW_TARGET__RATE_PER_S": str(_TARGET_RATE_PER_S),
        "EVENTFLOW_TARGET__BURST": str(_PROCESSOR_BURST),
        "EVENTFLOW_TELEMETRY__LOG_FORMAT": "console",
        "PYTHONUNBUFFERED": "1",
    }
    usual_ports = {
        "EVENTFLOW_COLLECTOR__PORT": 8080,
        "EVENTFLOW_COLLECTOR__ADMIN_PORT": 9464,
        _PROCESSOR_PORT: 9465,
    }
    if broker.management_url is not None:
        chosen["EVENTFLOW_BROKER__MANAGEMENT_URL"] = broker.management_url
    chosen |= {name: str(usual_or_free_port(port)) for name, port in usual_ports.items() if name not in user}
    open_ones = {name: value for name, value in chosen.items() if not user.get(name) and not user.get(f"{name}_FILE")}
    return {**user, **open_ones}


def _describe(environment: Environment, another: Environment, broker: Broker, target_port: int) -> RunFile:
    return RunFile(
        pid=os.getpid(),
        events_url=f"http://{LOOPBACK}:{environment['EVENTFLOW_COLLECTOR__PORT']}/events",
        audit_url=f"http://{LOOPBACK}:{target_port}/_audit",
        api_key=_first_key(environment.get("EVENTFLOW_SOURCE__API_KEYS")),
        management_url=broker.management_url,
        collector_metrics_url=f"{_admin_url(environment, 'COLLECTOR')}/metrics",
        processor_metrics_urls=[f"{_admin_url(one, 'PROCESSOR')}/metrics" for one in (environment, another)],
    )


def _first_key(variable: str | None) -> str:
    """Return the first of the keys in a variable; empty if it has none, of which the collector complains."""
    try:
        match secrets_in(variable):
            case [str() as key, *_]:
                return key
    except ValueError:
        pass
    return ""


def _admin_url(environment: Environment, service: str) -> str:
    return f"http://{LOOPBACK}:{environment[f'EVENTFLOW_{service}__ADMIN_PORT']}"


def _panel(here: RunFile, broker: Broker) -> Panel:
    rows = {
        "Collector": here.events_url,
        "Metrics": "  ".join([here.collector_metrics_url, *here.processor_metrics_urls]),
        "Target audit": f"{here.audit_url}  ({_TARGET_RATE_PER_S} events/s)",
    }
    if broker.management_url is not None:
        rows["RabbitMQ"] = f"{broker.management_url}  (login {broker.login}, password {broker.password})"
    rows["Stop"] = "Ctrl-C"
    rows["Try"] = "make send   (in another terminal), or paste the line below"
    return Panel(
        "\n".join(f"{name:<13} {value}" for name, value in rows.items()), title="Event Flow runs", expand=False
    )


def _curl(here: RunFile) -> str:
    key = here.api_key if here.api_key == _API_KEY else "YOUR_KEY"  # a key of the user's is not for the screen
    return f"curl -X POST {here.events_url} -H 'X-Api-Key: {key}' -H 'Content-Type: application/json' -d '{_EXAMPLE}'\n"


def _last_words(child: ChildProcess, problem: str) -> str:
    return "\n".join([f"{problem}. It said last:", *child.tail(15)])


if __name__ == "__main__":
    typer.run(main)
