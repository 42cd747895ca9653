"""`Context`: the second argument of a handler."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from eventflow.event import Event
from eventflow.handling.derived import DerivedEvent, derived_id
from eventflow.outbox.new_event import Body, new_event


@dataclass(slots=True, kw_only=True)
class Context:
    """One call of a handler.

    Attributes:
        event: The event that it handles.
        flow: The flow of this event.
        flows: Names of all flows, into which an event may be emitted.
        attempt: Number of the attempt, from 1. It is the same again after an attempt that does not count.
        db: The open transaction in your database: a connection of asyncpg or psycopg, or a session of SQLAlchemy. Event
            Flow commits it after the function has returned, and rolls it back if it raises. None without a database.
    """

    event: Event
    flow: str
    flows: Collection[str]
    attempt: int = 1
    db: Any = None
    _derived: int = field(default=0, init=False)

    def derive(
        self,
        *,
        type: str,  # noqa: A002 - the name of the attribute
        flow: str,
        body: Body = b"",
        content_type: str | None = None,
        subject: str | None = None,
        source: str | None = None,
        time: datetime | None = None,
        dataschema: str | None = None,
        extensions: Mapping[str, str] | None = None,
    ) -> DerivedEvent:
        """Make an event for another flow. Return it from the handler to emit it.

        Its id is that of the handled event and a number: `ID/0` for the first call of this method, `ID/1` for the next.
        So a repetition emits the same ids, if the function derives the same events in the same order.

        Args:
            flow: A configured flow.
            body: `bytes`, a `str`, or a `dict` or `list`, which becomes JSON.
            source: By default that of the handled event. Ids are unique within it.

        Raises:
            InvalidEventError: An attribute has a wrong form; the message names it.
            ValueError: There is no such flow.
        """
        if flow not in self.flows:
            raise ValueError(f"flow {flow!r} is not configured; there are: {', '.join(sorted(self.flows))}")
        number, self._derived = self._derived, self._derived + 1
        event = new_event(
            id=derived_id(self.event.id, number),
            source=source or self.event.source,
            type=type,
            body=body,
            time=time,
            content_type=content_type,
            subject=subject,
            dataschema=dataschema,
            extensions=extensions,
            traceparent=self.event.traceparent,
        )
        return DerivedEvent.of(event, flow=flow)
