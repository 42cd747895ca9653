"""The parts that pages and API work with."""

import asyncio
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from eventflow.settings.root import Settings
from eventflow_console.history import History


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The parts that every view reads.

    Attributes:
        stopping: Set when the console ends, so that endless answers end too.
    """

    settings: Settings
    history: History
    stopping: asyncio.Event

    @property
    def flows(self) -> tuple[str, ...]:
        """The names of all flows."""
        return tuple(self.settings.all_flows)

    @property
    def read_only(self) -> bool:
        """Whether every change is refused, so that no view offers one."""
        return self.settings.console.read_only


DESK: Final = web.AppKey("desk", Desk)
