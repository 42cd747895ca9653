"""A guard for observers: an internal error in metrics, traces or logs never affects an event.

Such an error is logged and counted, and the handling of the event continues. So it can neither delay nor lose an event.
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
    """Counts unexpected errors. Each is a bug that a person must investigate."""

    def __init__(self, counter: Counter) -> None:
        """Count in `counter`, the `eventflow_internal_errors_total` of a service."""
        self._counter = counter

    def count(self) -> None:
        """Count an error that is logged elsewhere. Never raises."""
        with suppress(Exception):
            self._counter.inc()

    def note(self, error: BaseException, *, event: str = "internal.error", **fields: Any) -> None:
        """Count an error, and log it with its traceback as `event`. Never raises."""
        self.count()
        with suppress(Exception):
            log.error(event, exc_info=error, **fields)


class Guarded(Protocol):
    """An object that has `harmless` methods."""

    @property
    def internal_errors(self) -> InternalErrors:
        """The counter of their errors."""
        ...


G = TypeVar("G", bound=Guarded)


def harmless(method: Callable[Concatenate[G, P], R]) -> Callable[Concatenate[G, P], R | None]:
    """Decorate a method so that its errors are noted and not raised; it returns None then."""

    @wraps(method)
    def guarded(self: G, /, *args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return method(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - this is the guard: no error may reach the event
            self.internal_errors.note(error, where=method.__qualname__)
            return None

    return guarded
