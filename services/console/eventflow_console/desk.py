"""The parts that pages and API work with."""

import asyncio
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from eventflow.settings.root import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The parts that every view reads.

    Attributes:
        stopping: Set when the console ends, so that endless answers end too.
    """

    settings: Settings
    stopping: asyncio.Event

    @property
    def read_only(self) -> bool:
        """Whether every change is refused, so that no view offers one."""
        return self.settings.console.read_only


DESK: Final = web.AppKey("desk", Desk)
