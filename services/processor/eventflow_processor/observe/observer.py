"""Observers of attempts, and the guard that keeps their errors from the events."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

import structlog
from typing_extensions import override

from eventflow.delivery import Delivery
from eventflow.telemetry.harmless import InternalErrors
from eventflow.telemetry.logging import shown_id
from eventflow_processor.attempt import Attempted
from eventflow_processor.target.result import AttemptNotMadeError

log = structlog.stdlib.get_logger()


class Observer(Protocol):
    """Sees every finished attempt of one flow."""

    def attempted(self, attempted: Attempted) -> None:
        """Note a finished attempt, without blocking. An exception is logged and counted, and passed on to no caller."""
        ...


class Observers(Observer):
    """All observers of one flow. An exception in one of them reaches neither the delivery nor the other observers."""

    def __init__(self, observers: Sequence[Observer], *, flow: str, internal_errors: InternalErrors) -> None:
        self._observers = observers
        self._flow = flow
        self._internal_errors = internal_errors

    @override
    def attempted(self, attempted: Attempted) -> None:
        for observer in self._observers:
            try:
                observer.attempted(attempted)
            except Exception as error:  # noqa: BLE001 - the guard itself
                self._internal_errors.note(error, where=type(observer).__name__, flow=self._flow)

    def note_error(self, error: Exception, *, where: str, delivery: Delivery | None = None) -> None:
        """Log and count an internal error that ended a turn; its delivery is repeated. Never raises."""
        shown = {} if delivery is None else {"event_id": shown_id(delivery.envelope.event.id)}
        if isinstance(error, AttemptNotMadeError):  # its message suffices, without a traceback
            self._internal_errors.count()
            with suppress(Exception):
                log.error("attempt.not_made", flow=self._flow, **shown, reason=str(error), action="delivered again")
        else:
            self._internal_errors.note(error, where=where, flow=self._flow, **shown)
