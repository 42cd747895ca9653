"""Scenarios: small functions on a `World`. The harness adds the load and the check."""

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from tests.chaos.world import World

RATE_PER_S = 200.0
EVENTS_MIN = 3000
ANSWER_MAX_S = 5.0
"""Webhook senders give up after about this time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One fault under load.

    Attributes:
        entry: Numbers of its entries in the catalogue.
        name: Description of the fault for people.
        fault: Function that causes the fault under load, and asserts everything beyond "no event is lost".
        at_least: Number of accepted events before the load ends.
        posts: Number of times that each event is posted.
        duplicates_max: Largest share of the accepted events that may be delivered twice.
        answer_max_s: Longest time until an answer.
        nodes: 1, or 3 for a cluster.
        proxied: Whether each service reaches the broker through a proxy.
        silent_first: Whether the first broker URL of both services leads to an address that never answers.
        rest_within_s: Longest time until all work is done after the end of the load.
        spool: Whether the collector has a spool.
        faulty_disk: Whether the disk of the spool can hang and fail.
        history: Kind of the store in which the processor records its attempts; None if it has no history.
        collector_descriptors: Limit of the collector's open files: options of `ulimit`, such as `-n 64`.
        collector: Settings of the collector, as variables without their prefix.
        source: Settings of the flow's source, as names without their section.
        processor: Settings of the processor, as variables without their prefix.
        modules: Modules that replace `collector` or `processor`: services that are broken on purpose.
        note: Reason for a load that differs from the usual one.
    """

    entry: str
    name: str
    fault: Callable[[World], Awaitable[None]]
    rate_per_s: float = RATE_PER_S
    at_least: int = EVENTS_MIN
    body_bytes: int = 0
    posts: int = 1
    duplicates_max: float = math.inf
    answer_max_s: float = ANSWER_MAX_S
    nodes: int = 1
    proxied: bool = False
    silent_first: bool = False
    client_timeout_s: float = 15.0
    deadline_s: float = 150.0
    rest_within_s: float = 60.0
    spool: bool = False
    faulty_disk: bool = False
    history: Literal["sqlite", "postgresql"] | None = None
    collector_descriptors: str = ""
    collector: Mapping[str, str] = field(default_factory=dict)
    source: Mapping[str, str] = field(default_factory=dict)
    processor: Mapping[str, str] = field(default_factory=dict)
    retry_delays_s: tuple[float, ...] = (0.2, 0.5, 2.0)
    modules: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    @property
    def must_lose(self) -> bool:
        """Whether the check itself is under test: it must find a loss."""
        return bool(self.modules)
