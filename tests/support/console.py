"""A console in the process of a test: the whole one over a real socket, or its parts alone, against a real broker."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from eventflow.history.records import Action
from eventflow.settings.load import load
from eventflow.settings.roles import Role
from eventflow.settings.root import Settings
from eventflow.tasks import cancel_and_wait
from eventflow.users import PasswordHash
from eventflow_console.actions import Actions
from eventflow_console.app import application
from eventflow_console.auth.selection import authenticator_of
from eventflow_console.dead_letters import DeadLetters
from eventflow_console.desk import Desk
from eventflow_console.jobs import Jobs
from eventflow_console.metrics import ConsoleMetrics
from eventflow_console.server import serving
from eventflow_console.state import State


@dataclass(slots=True, kw_only=True)
class Answer:
    """An answer of the console."""

    status: int
    headers: Mapping[str, str]
    text: str


@dataclass(slots=True, kw_only=True)
class Console:
    """A console that runs."""

    url: str
    desk: Desk
    metrics: ConsoleMetrics
    client: aiohttp.ClientSession

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.request("GET", path, **options)

    async def post(self, path: str, **options: Any) -> Answer:
        return await self.request("POST", path, **options)

    async def request(self, method: str, path: str, **options: Any) -> Answer:
        async with self.client.request(method, self.url + path, allow_redirects=False, **options) as answer:
            return Answer(status=answer.status, headers=answer.headers, text=await answer.text())

    def counted(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


NO_BROKER = "amqp://127.0.0.1:1/"
"""No process listens there."""


@asynccontextmanager
async def console(
    store: Any = None, *, broker_url: str = NO_BROKER, flows: Mapping[str, Any] | None = None, **settings: Any
) -> AsyncIterator[Console]:
    """Run a console; the settings are those of its section."""
    metrics = ConsoleMetrics()
    loaded = Settings.model_validate({"console": settings, "flows": flows or {}, "broker": {"url": broker_url}})
    desk = Desk.of(loaded, store=store, metrics=metrics, stopping=asyncio.Event())
    app = application(desk, authenticator_of(loaded.console, metrics), metrics)
    async with (
        serving(app, host="127.0.0.1", port=0) as port,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as client,
    ):
        duties = [asyncio.create_task(duty) for duty in desk.duties()]
        try:
            yield Console(url=f"http://127.0.0.1:{port}", desk=desk, metrics=metrics, client=client)
        finally:
            desk.stopping.set()
            await desk.jobs.close()
            await cancel_and_wait(*duties)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleParts:
    """The parts of a console, and the actions that it has put on record."""

    settings: Settings
    state: State
    dead_letters: DeadLetters
    jobs: Jobs
    actions: Actions
    recorded: list[Action] = field(default_factory=list)


def console_settings(broker_url: str, *flows: str, **settings: str) -> Settings:
    """Return the settings of a console; those that begin with `TARGET__` or `SOURCE__` are of each flow."""
    of_flows = {name: value for name, value in settings.items() if name.startswith(("TARGET__", "SOURCE__"))}
    others = {name: value for name, value in settings.items() if name not in of_flows}
    of_flows = {"TARGET__RETRY_DELAYS_S": "0.2,0.5", **of_flows}
    variables = {"BROKER__URL": broker_url, **others} | {
        f"FLOWS__{flow.upper()}__{name}": value for flow in flows for name, value in of_flows.items()
    }
    return load(None, Role.CONSOLE, {f"EVENTFLOW_{name}": value for name, value in variables.items()})


@asynccontextmanager
async def console_parts(broker_url: str, *flows: str, **settings: str) -> AsyncIterator[ConsoleParts]:
    """Yield the parts of a console whose watcher runs."""
    loaded = console_settings(broker_url, *flows, **settings)
    state = State(loaded)
    dead_letters = DeadLetters(loaded, state)
    jobs = Jobs(loaded, dead_letters)
    recorded: list[Action] = []

    async def record(action: Action) -> None:
        recorded.append(action)

    actions = Actions(loaded, dead_letters=dead_letters, jobs=jobs, record=record)
    watching = asyncio.create_task(state.run())
    try:
        yield ConsoleParts(
            settings=loaded, state=state, dead_letters=dead_letters, jobs=jobs, actions=actions, recorded=recorded
        )
    finally:
        await jobs.close()
        await cancel_and_wait(watching)


def cheap_hash(password: str) -> PasswordHash:
    """Hash a password at a cost that no real one has, so that a test is fast."""
    blank = PasswordHash(salt=b"salt" * 4, digest=b"\0" * 32, cost_log2=1, parallelization=1)
    return PasswordHash(salt=blank.salt, digest=blank._digest_of(password), cost_log2=1, parallelization=1)
