"""Roles in which the gate admits an attempt, and verdicts on its result. Pure."""

from enum import Enum, auto


class Pass(Enum):
    """The role in which an attempt is admitted."""

    ATTEMPT = auto()
    PROBE = auto()


class Verdict(Enum):
    """The decision whether a result counts for its event."""

    COUNTS = auto()
    DEFER = auto()
    """The target asked to wait: no attempt counts. During a short pause the event waits in memory."""
    UNCOUNTED = auto()
    """The target is down, or refuses every event: no attempt counts, and the event goes to a delay queue."""
