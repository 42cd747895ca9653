"""The decision whether a call ends by itself or is given up: the side that comes first wins. Pure."""

import threading
from enum import Enum, auto


class Stage(Enum):
    """The progress of a call."""

    WAITING = auto()
    """No thread works on it yet."""
    BEGUN = auto()
    """Its transaction begins. The function has not been called."""
    CALLED = auto()
    ENDING = auto()
    """Only its COMMIT or its ROLLBACK is left, which no deadline cuts."""
    GIVEN_UP = auto()
    """It must not commit: its deadline is over, or its attempt was abandoned."""


class Fate:
    """The stage of a call. A thread may work on the call, and the event loop has its deadline."""

    __slots__ = ("_lock", "_stage")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stage = Stage.WAITING

    @property
    def is_given_up(self) -> bool:
        """Whether the call must not commit."""
        return self._stage is Stage.GIVEN_UP

    def enter(self, stage: Stage) -> bool:
        """Continue with a stage; return False if the call was given up."""
        with self._lock:
            if self._stage is Stage.GIVEN_UP:
                return False
            self._stage = stage
            return True

    def give_up(self) -> Stage:
        """Give the call up, unless it ends by itself; return its stage until now."""
        with self._lock:
            stage = self._stage
            if stage is not Stage.ENDING:
                self._stage = Stage.GIVEN_UP
            return stage
