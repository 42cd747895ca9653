"""How the gate admits an attempt, and how its result counts. Pure."""

from enum import Enum, auto


class Pass(Enum):
    """The role in which an attempt is admitted."""

    ATTEMPT = auto()
    PROBE = auto()


class Verdict(Enum):
    """How a result counts for its event."""

    COUNTS = auto()
    DEFER = auto()
    """The target asked to wait: the event keeps its attempt, in memory while the pause is short."""
    UNCOUNTED = auto()
    """The target is down, or refuses every event: the event goes to a delay queue and keeps its attempt."""
