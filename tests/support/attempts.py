"""Finished attempts for the observers of attempts."""

from datetime import datetime

from eventflow.delivery import Delivery
from eventflow.event import Event, utc_now
from eventflow.message import Envelope, Failure
from eventflow.outcome import Outcome
from eventflow.topology import Lane
from eventflow_processor.attempt import Attempted
from eventflow_processor.target.result import Result, Succeeded
from eventflow_processor.turn import Turn


class OpenChannel:
    """A channel on which nothing has to be settled."""

    is_open = True

    def settle(self, tag: int, *, requeue: bool) -> None: ...

    def dead_letter(self, tag: int) -> None: ...


def envelope(event_id: str = "e", *, accepted_at: datetime | None = None, attempt: int = 1) -> Envelope:
    at = accepted_at or utc_now()
    return Envelope(
        event=Event(id=event_id, source="s", type="t", time=at, accepted_at=at, body=b"body"), attempt=attempt
    )


def failed_envelope(event_id: str = "e", *, attempt: int = 2) -> Envelope:
    """Return the copy of an event whose attempt was answered 503."""
    failure = Failure(reason="server_error", status=503, first_at=utc_now(), last_at=utc_now())
    return Envelope(event=envelope(event_id).event, attempt=attempt, failure=failure)


def delivery(of: Envelope | None = None, *, lane: Lane = Lane.LIVE) -> Delivery:
    return Delivery(envelope=of or envelope(), lane=lane, channel=OpenChannel(), tag=1, held={})


def attempted(
    outcome: Outcome | None,
    *,
    of: Envelope | None = None,
    lane: Lane = Lane.LIVE,
    result: Result | None = None,
    error: Exception | None = None,
    duration_s: float = 0.25,
    settlement_s: float = 0.5,
) -> Attempted:
    return Turn(
        delivery=delivery(of, lane=lane),
        entered=None,
        on_end=lambda _: None,
        started_at_ns=0,
        started_s=0.0,
        result=result or Succeeded(status=200),
        is_in_flight=False,
        ended_s=duration_s,
        outcome=outcome,
        error=error,
        settled_s=duration_s + settlement_s,
    )
