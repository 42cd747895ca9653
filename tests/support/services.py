"""The real services as real processes, with settings from the environment alone."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from sandbox.ports import free_port
from sandbox.processes import ChildProcess, scrubbed_environment
from tests.support.preloaded import PreloadedProcess
from tests.support.wait import eventually

API_KEY = "test-key"
PATIENT_S = "20"
"""Confirm timeout of the collectors of tests. A machine on which nothing runs for the default of 2 s, or a disk that
takes as long, makes a collector answer 503: a sender tries again, and a test would take it for a failure. Where a
broker is silent, the test sets its own."""


def environment_with(settings: Mapping[str, str]) -> dict[str, str]:
    """Return a scrubbed environment with settings, which are variables without their prefix.

    Those named `OTEL_`, and those in lower case, stay as they are.
    """
    return scrubbed_environment() | {
        name if name.startswith("OTEL_") or name.islower() else f"EVENTFLOW_{name}": value
        for name, value in settings.items()
    }


@dataclass(slots=True, kw_only=True)
class Service:
    """A collector, processor, console or relay, and where it listens."""

    process: ChildProcess
    admin_url: str
    url: str
    tracebacks: list[str]
    """Lines that tell of a bug, from all its lives; the output keeps the last lines of the latest only."""

    @property
    def output(self) -> str:
        return "\n".join(self.process.tail(200))

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of the log of one kind, as far as `output` goes back."""
        lines = [json.loads(line) for line in self.output.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    async def logs(self, event: str, *, count: int = 1) -> list[dict[str, Any]]:
        """Wait until there are so many lines of one kind, and return them.

        A line comes through a pipe, and so can come later than the answer to a request that was made after it.
        """
        await eventually(
            lambda: len(self.logged(event)) >= count, what=lambda: f"{count} lines of {event}:\n{self.output}"
        )
        return self.logged(event)

    async def ready(self, client: aiohttp.ClientSession, *, within_s: float = 20.0) -> None:
        """Wait until it is ready, with all of its workers."""

        async def is_ready() -> bool:
            assert self.process.alive, f"it ended with {self.process.returncode}:\n{self.output}"
            return await self.is_ready(client)

        await eventually(is_ready, within_s=within_s, what=lambda: f"{self.process.name} ready:\n{self.output}")

    async def is_ready(self, client: aiohttp.ClientSession) -> bool:
        """Return whether it is ready now, with all of its workers: /readyz is satisfied with one of them."""
        try:
            readiness = await self.readiness(client)
        except aiohttp.ClientError:
            return False
        return readiness["status"] == 200 and readiness.get("ready_workers") == readiness.get("workers")

    async def readyz(self, client: aiohttp.ClientSession) -> int | None:
        """Return the status of /readyz; None while nothing listens."""
        try:
            async with client.get(f"{self.admin_url}/readyz") as answer:
                return answer.status
        except aiohttp.ClientError:
            return None

    async def readiness(self, client: aiohttp.ClientSession) -> dict[str, Any]:
        """Return what /readyz answers, and its status as `status`.

        Raises:
            aiohttp.ClientError: Nothing listens.
        """
        async with client.get(f"{self.admin_url}/readyz") as answer:
            return {**await answer.json(), "status": answer.status}

    async def metric(self, client: aiohttp.ClientSession, name: str) -> float:
        """Return the sum of a metric over all its labels."""
        async with client.get(f"{self.admin_url}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))

    async def counts(self, client: aiohttp.ClientSession, name: str, value: float, *, within_s: float = 20.0) -> None:
        """Wait until a metric has a value, as the sum over all its labels."""

        async def has() -> bool:
            return await self.metric(client, name) == value

        await eventually(has, within_s=within_s, what=lambda: f"{name} at {value:g}:\n{self.output}")


@asynccontextmanager
async def starting(
    client: aiohttp.ClientSession, *, has_bugs: bool = False
) -> AsyncIterator[Callable[[Service], Awaitable[Service]]]:
    """Yield a function that starts a service and waits until it is ready; stop all of them at the end.

    Each must end with status 0, unless the test has killed it.

    Args:
        client: For `Service.ready`.
        has_bugs: Whether a service may log a traceback.
    """
    started: list[Service] = []

    async def start(service: Service) -> Service:
        service.process.start()
        started.append(service)
        await service.ready(client)
        return service

    yield start
    for service in started:
        allowed = 0 if service.process.alive else service.process.returncode
        assert await asyncio.to_thread(service.process.stop) == allowed in {0, -signal.SIGKILL}, service.output
        assert has_bugs or not service.tracebacks, service.output


def collector(
    broker_url: str,
    *,
    flow: str,
    module: str = "eventflow_collector",
    descriptors: str = "",
    variables: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
    preloaded: bool = True,
    **settings: str,
) -> Service:
    """Prepare a collector of one flow; `settings` are those of `environment_with`.

    The flow's key is `API_KEY`, unless the settings name its keys or the signature that it verifies.

    Args:
        descriptors: Options of the shell's `ulimit` that bound its open files, such as `-n 64` or `-Sn 64`.
        variables: More of its environment, as they are.
        prefix: A command that runs the one behind it, such as `unshare`.
        preloaded: Whether it may be a `PreloadedProcess`; without a prefix, variables and descriptors it is one.
    """
    port, admin_port = free_port(), free_port()
    of_flow = f"FLOWS__{flow.upper()}__SOURCE__"
    keys = {} if f"{of_flow}VERIFY" in settings else {f"{of_flow}API_KEYS": API_KEY}
    environment = {
        "BROKER__URL": broker_url,
        "COLLECTOR__PORT": str(port),
        "COLLECTOR__ADMIN_PORT": str(admin_port),
        "COLLECTOR__CONFIRM_TIMEOUT_S": PATIENT_S,
        "COLLECTOR__SPOOL_DRAIN_TIMEOUT_S": "0",  # so that the end of a test does not wait for a broker that is away
        **keys,
        **settings,
    }
    return _service(
        module,
        environment,
        admin_url=f"http://127.0.0.1:{admin_port}",
        url=f"http://127.0.0.1:{port}/events/{flow}",
        descriptors=descriptors,
        variables=variables or {},
        prefix=prefix,
        preloaded=preloaded,
    )


def processor(
    broker_url: str,
    *,
    flow: str,
    target_url: str | None = None,
    module: str = "eventflow_processor",
    prefix: Sequence[str] = (),
    preloaded: bool = True,
    **settings: str,
) -> Service:
    """Prepare a processor of one flow; `settings` are those of `environment_with`.

    `TARGET__` and `HANDLER__` ones are the flow's.

    Args:
        target_url: None if the flow has a handler.
        prefix: A command that runs the one behind it, such as `NameServer.seen_by`.
        preloaded: Whether it may be a `PreloadedProcess`; without a prefix it is one.
    """
    admin_port = free_port()
    environment = {"TARGET__RETRY_DELAYS_S": "0.2,0.5", **settings}
    if target_url is not None:
        environment["TARGET__URL"] = target_url
    of_flow = f"FLOWS__{flow.upper()}__"
    sections = ("TARGET__", "HANDLER__")
    return _service(
        module,
        {"BROKER__URL": broker_url, "PROCESSOR__ADMIN_PORT": str(admin_port)}
        | {of_flow + name if name.startswith(sections) else name: value for name, value in environment.items()},
        admin_url=f"http://127.0.0.1:{admin_port}",
        prefix=prefix,
        preloaded=preloaded,
    )


def console(broker_url: str, *, flow: str, preloaded: bool = True, **settings: str) -> Service:
    """Prepare a console of one flow; `settings` are those of `environment_with`, `TARGET__` ones the flow's."""
    port, admin_port = free_port(), free_port()
    of_flow = f"FLOWS__{flow.upper()}__"
    environment = {"TARGET__URL": "http://127.0.0.1:1/", "TARGET__RETRY_DELAYS_S": "0.2,0.5", **settings}
    return _service(
        "eventflow_console",
        {"BROKER__URL": broker_url, "CONSOLE__PORT": str(port), "CONSOLE__ADMIN_PORT": str(admin_port)}
        | {of_flow + name if name.startswith("TARGET__") else name: value for name, value in environment.items()},
        admin_url=f"http://127.0.0.1:{admin_port}",
        url=f"http://127.0.0.1:{port}",
        preloaded=preloaded,
    )


def relay(
    broker_url: str,
    *,
    database_url: str,
    flows: Sequence[str],
    module: str = "eventflow_relay",
    preloaded: bool = True,
    **settings: str,
) -> Service:
    """Prepare a relay of flows; `settings` are those of `environment_with`."""
    admin_port = free_port()
    delays = {f"FLOWS__{flow.upper()}__TARGET__RETRY_DELAYS_S": "0.2,0.5" for flow in flows}
    return _service(
        module,
        {
            "BROKER__URL": broker_url,
            "RELAY__DATABASE_URL": database_url,
            "RELAY__ADMIN_PORT": str(admin_port),
            **delays,
            **settings,
        },
        admin_url=f"http://127.0.0.1:{admin_port}",
        preloaded=preloaded,
    )


def _service(
    module: str,
    settings: Mapping[str, str],
    *,
    admin_url: str,
    url: str = "",
    descriptors: str = "",
    variables: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
    preloaded: bool,
) -> Service:
    tracebacks: list[str] = []

    def listen(line: str) -> None:
        if "Traceback" in line:
            tracebacks.append(line)

    environment = environment_with(settings) | (variables or {})
    command = [sys.executable, "-m", module]
    if descriptors:
        command = ["/bin/sh", "-c", f'ulimit {descriptors} && exec "$@"', "sh", *command]
    kind = PreloadedProcess if preloaded and not (prefix or descriptors or variables) else ChildProcess
    process = kind(module, [*prefix, *command], env=environment, on_line=listen)
    return Service(process=process, admin_url=admin_url, url=url, tracebacks=tracebacks)
