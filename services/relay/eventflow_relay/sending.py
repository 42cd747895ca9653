"""The publish of one row: its event, its span, and its outcome."""

from collections.abc import Collection

from eventflow.amqp.publish_channel import Publication
from eventflow.amqp.publisher import Publisher
from eventflow.errors import (
    BrokerUnavailableError,
    EventFlowError,
    InvalidEventError,
    MessageTooLargeError,
    UnroutableError,
)
from eventflow.event import Event
from eventflow.message import Envelope, encode
from eventflow.outbox.row import Row, event_of
from eventflow.telemetry.harmless import InternalErrors, harmless
from eventflow.telemetry.tracing import UNRECORDED, Span, Tracer, attributes_of, messaging_attributes
from eventflow.topology import Lane, lane_queue
from eventflow_relay.judgement import InternalRowError


class Sending:
    """The publish of one row.

    Attributes:
        row: The row.
    """

    __slots__ = ("_failure", "_publication", "row")

    def __init__(
        self, row: Row, *, publication: Publication | None = None, failure: EventFlowError | None = None
    ) -> None:
        self.row = row
        self._publication = publication
        self._failure = failure

    @property
    def is_confirmed(self) -> bool:
        """Whether the broker has confirmed it."""
        return self._publication is not None and self._publication.is_confirmed

    @property
    def error(self) -> EventFlowError | None:
        """The reason for which it was not confirmed; None if it is confirmed, or still unresolved."""
        return self._failure if self._publication is None else self._publication.error

    @property
    def is_unresolved(self) -> bool:
        """Whether its outcome is not known yet."""
        return not self.is_confirmed and self.error is None

    async def wait(self, *, timeout_s: float) -> None:
        """Wait for the outcome; raises as `Publication.confirmed` does."""
        if self._publication is not None:
            await self._publication.confirmed(timeout_s=timeout_s)


class Sender:
    """Starts the publishes of rows."""

    def __init__(
        self, publisher: Publisher, *, flows: Collection[str], tracer: Tracer, internal_errors: InternalErrors
    ) -> None:
        """Take the parts; `flows` are the configured ones, since only their queues exist."""
        self._publisher = publisher
        self._flows = flows
        self._tracer = tracer
        self.internal_errors = internal_errors

    def send(self, row: Row) -> Sending:
        """Start the publish of a row. Never raises."""
        try:
            return Sending(row, publication=self._publish(row))
        except (InvalidEventError, UnroutableError, MessageTooLargeError, BrokerUnavailableError) as failure:
            return Sending(row, failure=failure)
        except Exception as error:  # noqa: BLE001 - a guard: it would come again at each start, and stop all other rows
            self.internal_errors.note(error, where="row", number=row["number"])
            return Sending(row, failure=InternalRowError(f"an internal error: {type(error).__name__}"))

    def _publish(self, row: Row) -> Publication:
        flow: str = row["flow"]
        if flow not in self._flows:
            raise UnroutableError(f"flow {flow!r} is not configured in the settings of the relay")
        event, queue = event_of(row), lane_queue(flow, Lane.LIVE)
        span = self._begin_span(event, queue) or UNRECORDED
        publication = self._publisher.publish(encode(Envelope(event=event), traceparent=span.traceparent), queue=queue)
        if span.trace_id is not None:
            publication.on_resolved(lambda: self._end(span, publication))
        return publication

    @harmless
    def _begin_span(self, event: Event, queue: str) -> Span:
        """Begin the span of a publish in the trace of its event; no span for an event without one."""
        if event.traceparent is None:
            return UNRECORDED
        attributes = {**messaging_attributes("publish", queue), **attributes_of(event)}
        return self._tracer.start(f"publish {queue}", kind="producer", parent=event.traceparent, attributes=attributes)

    @harmless
    def _end(self, span: Span, publication: Publication) -> None:
        span.end(error=None if publication.is_confirmed else type(publication.error).__name__)
