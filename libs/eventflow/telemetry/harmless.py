"""Errors of our own that must not reach an event: they are logged and counted, and what met them goes on.

Metrics, traces and logs look at an event's way and have no part in it. So an error in one of them can neither hold an
event nor lose one.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import structlog
from prometheus_client import Counter

P = ParamSpec("P")
R = TypeVar("R")

log = structlog.stdlib.get_logger()


class InternalErrors:
    """Counts errors that nothing in the project expects; each is a bug, and a person must look."""

    def __init__(self, counter: Counter) -> None:
        """Count in `counter`: `eventflow_internal_errors_total` of a service."""
        self._counter = counter

    def count(self) -> None:
        """Count an error that is logged elsewhere. Never raises."""
        with suppress(Exception):
            self._counter.inc()

    def note(self, error: BaseException, *, event: str = "internal.error", **fields: Any) -> None:
        """Count an error and log it, as `event`, with its traceback. Never raises."""
        self.count()
        with suppress(Exception):
            log.error(event, exc_info=error, **fields)


class Guarded(Protocol):
    """An object with `harmless` methods."""

    @property
    def internal_errors(self) -> InternalErrors:
        """Where their errors are noted."""
        ...


G = TypeVar("G", bound=Guarded)


def harmless(method: Callable[Concatenate[G, P], R]) -> Callable[Concatenate[G, P], R | None]:
    """Keep what a method raises from its caller, which gets None instead."""

    @wraps(method)
    def guarded(self: G, /, *args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return method(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - the guard itself: whatever it is, the event goes on
            self.internal_errors.note(error, where=method.__qualname__)
            return None

    return guarded
