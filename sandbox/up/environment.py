"""Settings and addresses of the services in a run."""

import os
from collections.abc import Mapping
from pathlib import Path

from eventflow.cli.run_file import RunFile
from eventflow.settings.environment import CONFIG_VARIABLE, ENV_PREFIX, config_file
from eventflow.settings.fields import is_secret
from eventflow.settings.root import SECTIONS, variable_name
from eventflow.settings.secret_text import secrets_in
from eventflow.topology import DEFAULT_FLOW
from sandbox.broker.provision import URL_VARIABLE, Broker
from sandbox.ports import LOOPBACK, usual_or_free_port

API_KEY = "local-dev-key"
PROCESSOR_PORT = "EVENTFLOW_PROCESSOR__ADMIN_PORT"
CONSOLE_PORT = "EVENTFLOW_CONSOLE__PORT"
TARGET_RATE_PER_S = 50
_PROCESSOR_BURST = 10

_USUAL_PORTS = {
    "EVENTFLOW_COLLECTOR__PORT": 8080,
    "EVENTFLOW_COLLECTOR__ADMIN_PORT": 9464,
    PROCESSOR_PORT: 9465,
    CONSOLE_PORT: 8088,
    "EVENTFLOW_CONSOLE__ADMIN_PORT": 9466,
    "EVENTFLOW_RELAY__ADMIN_PORT": 9467,
}

Environment = Mapping[str, str]


def of_target(port: int) -> dict[str, str]:
    """Return the settings of the flow `default`, with a target on a port of this machine."""
    return {
        "EVENTFLOW_SOURCE__API_KEYS": API_KEY,
        "EVENTFLOW_TARGET__URL": f"http://{LOOPBACK}:{port}/",
        "EVENTFLOW_TARGET__RATE_PER_S": str(TARGET_RATE_PER_S),
        "EVENTFLOW_TARGET__BURST": str(_PROCESSOR_BURST),
    }


def for_services(user: Environment, broker: Broker, directory: Path, flows: Environment) -> dict[str, str]:
    """Return the environment of the services: the user's variables, and defaults for those that are not set.

    Args:
        user: The variables of the user.
        broker: The broker of the run.
        directory: Directory for data.
        flows: Settings of the flows.
    """
    data = directory.absolute()
    chosen = {
        URL_VARIABLE: broker.url,
        "EVENTFLOW_COLLECTOR__SPOOL_DIR": str(data / "spool"),
        "EVENTFLOW_HISTORY__URL": f"sqlite:///{data / 'history.db'}",
        "EVENTFLOW_TELEMETRY__LOG_FORMAT": "console",
        "PYTHONUNBUFFERED": "1",
        **flows,
    }
    if broker.management_url is not None:
        chosen["EVENTFLOW_BROKER__MANAGEMENT_URL"] = broker.management_url
    chosen |= {name: str(usual_or_free_port(port)) for name, port in _USUAL_PORTS.items() if name not in user}
    unset = {name: value for name, value in chosen.items() if not user.get(name) and not user.get(f"{name}_FILE")}
    return {**user, **unset}


def describe(
    user: Environment,
    environment: Environment,
    another: Environment,
    broker: Broker,
    target_port: int,
    flow: str = DEFAULT_FLOW,
) -> RunFile:
    """Return the addresses and settings of a run.

    Args:
        user: The variables of the user.
        environment: The environment of the services.
        another: The environment of the second processor.
        broker: The broker of the run.
        target_port: Port of the target.
        flow: The flow that events are sent to.
    """
    path = "/events" if flow == DEFAULT_FLOW else f"/events/{flow}"
    config = config_file(None, environment)
    return RunFile(
        pid=os.getpid(),
        directory=str(Path.cwd()),
        config=None if config is None else str(config.resolve()),
        settings={
            name: value
            for name, value in environment.items()
            if name.startswith(ENV_PREFIX) and name != CONFIG_VARIABLE and not (name in user and _is_secret(name))
        },
        console_url=f"http://{LOOPBACK}:{environment[CONSOLE_PORT]}/",
        events_url=f"http://{LOOPBACK}:{environment['EVENTFLOW_COLLECTOR__PORT']}{path}",
        audit_url=f"http://{LOOPBACK}:{target_port}/_audit",
        api_key=_first_key(environment.get(variable_name(flow, "source", "api_keys"))),
        management_url=broker.management_url,
        collector_metrics_url=f"{admin_url(environment, 'COLLECTOR')}/metrics",
        processor_metrics_urls=[f"{admin_url(one, 'PROCESSOR')}/metrics" for one in (environment, another)],
    )


def _is_secret(name: str) -> bool:
    """Return True for a variable with a secret of a source or a target. The command needs that of the broker only."""
    *sections, field = name.removeprefix(ENV_PREFIX).lower().split("__")
    known = SECTIONS[sections[-1]].model_fields if sections and sections[-1] in {"source", "target"} else {}
    return field in known and is_secret(known[field])


def _first_key(variable: str | None) -> str:
    """Return the first key in a variable; empty if there is none, which the collector reports at its start."""
    try:
        match secrets_in(variable):
            case [str() as key, *_]:
                return key
    except ValueError:
        pass
    return ""


def admin_url(environment: Environment, service: str) -> str:
    """Return the base URL of a service's admin port; `service` is COLLECTOR, PROCESSOR, RELAY or CONSOLE."""
    return f"http://{LOOPBACK}:{environment[f'EVENTFLOW_{service}__ADMIN_PORT']}"
