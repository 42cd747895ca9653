"""What a scenario is. Scenarios are small functions on a `World`; the harness brings load and check."""

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from tests.chaos.world import World

RATE_PER_S = 200.0
EVENTS_MIN = 3000


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One fault under load.

    Attributes:
        entry: Its numbers in the catalogue, as the table shows them.
        name: What happens, for people.
        fault: Does it, while the load runs, and asserts what must hold beside "nothing is lost".
        at_least: The load goes on until so many events were accepted.
        duplicates_max: Share of the accepted events that may come twice.
        nodes: 1, or 3 for a cluster.
        proxied: Whether both services reach the broker through a proxy each.
        silent_first: Whether an address that swallows whatever is sent there is the first of both services' URLs.
        rest_within_s: How long all work may take to be done once the load has ended.
        spool: Whether the collector has one.
        faulty_disk: Whether the disk of the spool can hang and fail.
        collector_descriptors: Bounds the collector's open files: options of the shell's `ulimit`, such as `-n 64`.
        collector: Settings, as variables without their prefix.
        processor: The same.
        modules: Other modules to run in place of `collector` or `processor`: services that are broken on purpose.
        note: Why it departs from the usual load.
    """

    entry: str
    name: str
    fault: Callable[[World], Awaitable[None]]
    rate_per_s: float = RATE_PER_S
    at_least: int = EVENTS_MIN
    body_bytes: int = 0
    duplicates_max: float = math.inf
    nodes: int = 1
    proxied: bool = False
    silent_first: bool = False
    client_timeout_s: float = 15.0
    deadline_s: float = 150.0
    rest_within_s: float = 60.0
    spool: bool = False
    faulty_disk: bool = False
    collector_descriptors: str = ""
    collector: Mapping[str, str] = field(default_factory=dict)
    processor: Mapping[str, str] = field(default_factory=dict)
    retry_delays_s: tuple[float, ...] = (0.2, 0.5, 2.0)
    modules: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    @property
    def must_lose(self) -> bool:
        """Whether the check is itself under test: it must find a loss."""
        return bool(self.modules)
