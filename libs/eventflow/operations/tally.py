"""Count of the events that an operation handles, for a display of its progress. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Tally:
    """Progress of an operation, which is known even if the operation fails half-way.

    Attributes:
        total: Events at the start; 0 until reading begins.
        seen: Events that were read so far.
        on_read: Called after the events of each read were handled.
    """

    total: int = 0
    seen: int = 0
    on_read: Callable[[], None] = field(default=lambda: None)
