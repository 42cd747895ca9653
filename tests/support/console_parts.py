"""The parts of a console in the process of a test, against a real broker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from eventflow.history.records import Action
from eventflow.settings.load import load
from eventflow.settings.roles import Role
from eventflow.settings.root import Settings
from eventflow.tasks import cancel_and_wait
from eventflow_console.actions import Actions
from eventflow_console.dead_letters import DeadLetters
from eventflow_console.jobs import Jobs
from eventflow_console.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
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
async def running_console(broker_url: str, *flows: str, **settings: str) -> AsyncIterator[Console]:
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
        yield Console(
            settings=loaded, state=state, dead_letters=dead_letters, jobs=jobs, actions=actions, recorded=recorded
        )
    finally:
        await jobs.close()
        await cancel_and_wait(watching)
