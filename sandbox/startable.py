"""Base of everything that the sandbox starts and stops."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Startable(ABC):
    """Something that runs between `start` and `stop`; a `with` statement calls both."""

    @abstractmethod
    def start(self) -> None:
        """Start it, and return when it is usable."""

    @abstractmethod
    def stop(self) -> object:
        """Stop it; do nothing if it does not run."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
