"""Scenarios of handlers: small functions on a `HandlerWorld`. The harness adds the load and the check."""

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from tests.chaos.handlers import function
from tests.chaos.handlers.world import HandlerWorld

RATE_PER_S = 50.0
EVENTS_MIN = 400
FUNCTIONS = function.__name__


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerScenario:
    """One fault under load.

    Attributes:
        name: Description of the fault for people.
        fault: Function that causes the fault under load, and asserts everything beyond the check.
        at_least: Number of accepted events before the load ends.
        posts: Number of times that each event is posted.
        repeats_max: Largest share of the emitted events that may be delivered twice.
        rest_within_s: Longest time until all work is done after the end of the load.
        call: Name of the function in `function.py`.
        has_sessions: Whether it works in a session of SQLAlchemy, and not on a connection.
        processor: Settings of the processors, as variables without their prefix; `HANDLER__` and `TARGET__` ones are
            those of the handler's flow.
        relay: Settings of the relays, as variables without their prefix.
        modules: Modules that replace `processor` or `relay`: services that are broken on purpose.
        note: Remark on the load or the fault.
    """

    name: str
    fault: Callable[[HandlerWorld], Awaitable[None]]
    rate_per_s: float = RATE_PER_S
    at_least: int = EVENTS_MIN
    posts: int = 1
    repeats_max: float = math.inf
    deadline_s: float = 150.0
    rest_within_s: float = 60.0
    call: str = function.handle.__name__
    has_sessions: bool = False
    retry_delays_s: tuple[float, ...] = (0.2, 0.5, 2.0)
    processor: Mapping[str, str] = field(default_factory=dict)
    relay: Mapping[str, str] = field(default_factory=dict)
    modules: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    @property
    def entry(self) -> str:
        """Number of its entry in the catalogue: it has none."""
        return ""

    @property
    def nodes(self) -> int:
        """Number of nodes of its broker."""
        return 1

    @property
    def must_fail(self) -> bool:
        """Whether the check itself is under test: it must find an effect or an event that is lost or doubled."""
        return bool(self.modules)
